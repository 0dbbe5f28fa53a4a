"""The electric dipole moment of a molecule."""

from jaxtyping import Float
from torch import Tensor

from molflt.errors import UsageError
from molflt.nn.readout.base import Readout, Sites
from molflt.nn.readout.equivariant_head import EquivariantHead
from molflt.nn.segment import segment_sum
from molflt.nn.spectra.spectrum import distance
from molflt.typing import NodeScalars, NodeVectors


class DipoleReadout(Readout):
    r"""mu = std * | m |,  m = sum_i (q_i - mean q) (r_i - c) + sum_i d_i.

    Partial charges q_i (less their mean: the molecule is neutral, so the centre c does
    not matter) and atomic dipoles d_i are learned, d_i from the vector features;
    without vector features m has its first sum alone. m turns with the molecule, its
    length stays. There is no offset: a molecule with a centre of inversion has mu = 0.

    The length has the derivative 0 where m = 0; elsewhere it is that of a length,
    at most 1.

    Args:
        width: Channels of the scalar features.
        vector_width: Channels of the vector features; 0: there are none.

    Units: q in std/Å, d in std, std in the target's unit (debye in QM9): the root mean
    square of the training labels.

    Source: PaiNN (arXiv 2102.03150); the Equivariant Transformer (arXiv 2202.02541)
    has charges that need not add up to zero, about the centre of mass.
    """

    def __init__(self, width: int, vector_width: int) -> None:
        super().__init__()
        self.head = EquivariantHead(width, vector_width, 1, 1)

    def vector(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, "g 3"]:
        """Return m of each graph, in units of std.

        Raises:
            InputError: A structure is periodic.
        """
        sites.refuse_periodic("dipole moment")
        charge, dipole = self.head(x, vec)
        # Places sum to zero, so taking the mean off the charges would change nothing.
        moment = charge * sites.from_centroid(charge.dtype)
        if dipole is not None:
            moment = moment + dipole.squeeze(2)
        return segment_sum(moment, sites.batch, sites.num_graphs)

    def forward(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, " g"]:
        """Return the length of m of each graph, in units of std.

        Raises:
            InputError: A structure is periodic.
        """
        return distance(self.vector(x, vec, sites))

    def terms(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, " n"]:
        """Refuse: a length is no sum over atoms.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "A dipole moment is no sum over atoms, so atoms have no share."
        )
