"""A sum or mean over atoms in which surface, sub-surface and adsorbate weigh apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.readout.base import AtomReadout, Sites
from molflt.typing import NodeScalars, NodeVectors

START = (1.0, 0.0, 0.0, 1.0)  # tags -1, 0, 1, 2


class TagReadout(AtomReadout):
    r"""y = mean + sum_i reference[z_i] + std * R_i w[tag_i] MLP(x_i).

    R is a sum or an average, w a learned weight per tag. An adsorption energy is made
    at the adsorbate: w starts at 1 for its atoms (and for atoms without tag, where this
    is `AtomReadout`) and at 0 for the slab's. Otherwise a model has to learn first
    that the many atoms of the slab cancel.

    Args:
        width: Channels of the features.
        extensive: R is the sum over atoms; otherwise their average.

    Source: Graphormer's IS2RE head (arXiv 2203.04810) has a learned factor per tag and
    leaves sub-surface atoms out.
    """

    def __init__(self, width: int, extensive: bool) -> None:
        super().__init__(width, extensive)
        self.tag_weight = nn.Parameter(torch.tensor(START))

    def terms(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, " n"]:
        """Return w[tag_i] MLP(x_i), over the number of atoms if not extensive."""
        tags = torch.full_like(sites.z, -1) if sites.tags is None else sites.tags
        return super().terms(x, vec, sites) * self.tag_weight[tags + 1]
