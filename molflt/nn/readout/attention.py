"""A mean over atoms whose weights are learned."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.readout.base import Readout, Sites
from molflt.nn.segment import segment_max, segment_sum
from molflt.typing import NodeScalars, NodeVectors


class AttentionReadout(Readout):
    r"""y = mean + std * sum_i w_i e_i,  w_i = exp(g_i) / sum_j exp(g_j).

    For intensive quantities that sit on few atoms, as orbital energies do. Weights
    start equal: the average of `AtomReadout`. A supercell repeats every g_i, so it has
    the same value.

    Args:
        width: Channels of the features.

    Source: PyG's AttentionalAggregation (arXiv 1904.12787).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.last = nn.Linear(width, 2)
        nn.init.zeros_(self.last.bias)
        with torch.no_grad():
            self.last.weight[0].mul_(0.1)
            self.last.weight[1].zero_()

    def terms(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, " n"]:
        """Return w_i e_i, in units of std."""
        out = self.last(nn.functional.silu(self.hidden(x)))
        value, score = out.to(self.last.weight.dtype).unbind(1)
        batch, num_graphs = sites.batch, sites.num_graphs
        highest = segment_max(score.detach(), batch, num_graphs)
        weight = (score - highest[batch]).exp()
        total = segment_sum(weight, batch, num_graphs)
        return value * weight / total[batch]
