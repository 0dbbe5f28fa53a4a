"""The isotropic polarisability of a molecule."""

from jaxtyping import Float
from torch import Tensor

from molflt.nn.readout.base import Readout, Sites
from molflt.nn.readout.equivariant_head import EquivariantHead
from molflt.typing import NodeScalars, NodeVectors


class PolarisabilityReadout(Readout):
    r"""alpha = sum_i reference[z_i] + std * sum_i (a_i + v_i.(r_i - c)).

    A third of the trace of sum_i a_i 1 + (3/2) (v_i (r_i - c)^T + (r_i - c) v_i^T):
    what an atom has by itself, and what charge moved between atoms adds. c is the mean
    of the positions, which is to say that the vectors count less their mean, and that
    the origin does not matter. Without vector features it is the sum of a_i alone.

    Args:
        width: Channels of the scalar features.
        vector_width: Channels of the vector features; 0: there are none.

    Units: a in std, v in std/Å, std and reference in the target's unit (a0^3 in QM9).

    Source: PaiNN (arXiv 2102.03150), whose tensor has no factor 3/2.
    """

    def __init__(self, width: int, vector_width: int) -> None:
        super().__init__()
        self.head = EquivariantHead(width, vector_width, 1, 1)

    def terms(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, " n"]:
        """Return a_i + v_i.(r_i - c), in units of std.

        Raises:
            InputError: A structure is periodic.
        """
        sites.refuse_periodic("polarisability by charges moved between atoms")
        scalars, vectors = self.head(x, vec)
        own = scalars.squeeze(1)
        if vectors is None:
            return own
        places = sites.from_centroid(own.dtype)
        return own + (vectors.squeeze(2) * places).sum(dim=1)
