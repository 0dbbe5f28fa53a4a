"""A sum over atoms whose zero is moved by the atoms of the adsorbate alone."""

from jaxtyping import Float
from torch import Tensor

from molflt.graph.parts import ADSORBATE
from molflt.nn.readout.base import AtomReadout, Sites


class AdsorbateReadout(AtomReadout):
    r"""y = mean + sum_{i: tag_i = 2} reference[z_i] + std * sum_i MLP(x_i).

    For energies between adsorbate and slab. Their own zero, E(slab) + E(adsorbate),
    needs no references. Labels that count from other gases, such as N2, CO, H2O and H2,
    differ from it by a constant of the adsorbate, whatever the slab is made of.

    Args:
        width: Channels of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, extensive=True)

    def baseline(self, sites: Sites) -> Float[Tensor, " n"]:
        """Return reference[z_i] of the adsorbate's atoms, 0 of others; float64."""
        every = super().baseline(sites)
        if sites.tags is None:
            return every.new_zeros(len(every))
        return every * (sites.tags == ADSORBATE)
