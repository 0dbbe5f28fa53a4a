"""From features of atoms to one number per graph, with its offset and scale."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.embedding import NUM_SPECIES
from molflt.nn.segment import segment_mean, segment_sum
from molflt.typing import GraphIndex, NodeScalars, Species


class AtomReadout(nn.Module):
    r"""y = mean + sum_i reference[z_i] + std * R_i MLP(x_i), R a sum or an average.

    References, mean and standard deviation come from the training set; they are kept in
    float64 whatever the weights are, so a total energy of 10^4 eV keeps its meV.

    Args:
        width: Channels of the features.
        extensive: R is the sum over atoms; otherwise their average.
    """

    def __init__(self, width: int, extensive: bool) -> None:
        super().__init__()
        self.extensive = extensive
        self.hidden = nn.Linear(width, width)
        self.last = nn.Linear(width, 1)
        nn.init.zeros_(self.last.bias)
        with torch.no_grad():
            self.last.weight.mul_(0.1)  # a sum over atoms starts near zero
        self.register_buffer("reference", torch.zeros(NUM_SPECIES, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("std", torch.ones((), dtype=torch.float64))

    reference: Tensor
    mean: Tensor
    std: Tensor

    def set_scale(self, reference: dict[int, float], mean: float, std: float) -> None:
        """Take the training set's contribution per species, mean and deviation."""
        self.reference.zero_()
        for z, value in reference.items():
            self.reference[int(z)] = value
        self.mean.fill_(mean)
        self.std.fill_(std)

    def per_atom(self, x: NodeScalars) -> Float[Tensor, " n"]:
        """Return MLP(x_i), in units of std."""
        hidden = nn.functional.silu(self.hidden(x))
        # In mixed precision the terms are bf16; their sum over many atoms must not be.
        return self.last(hidden).squeeze(1).to(self.last.weight.dtype)

    def forward(
        self, x: NodeScalars, batch: GraphIndex, num_graphs: int
    ) -> Float[Tensor, " g"]:
        """Return R_i MLP(x_i): the target of each graph less offset, over std."""
        reduce = segment_sum if self.extensive else segment_mean
        return reduce(self.per_atom(x), batch, num_graphs)

    def offset(
        self, z: Species, batch: GraphIndex, num_graphs: int
    ) -> Float[Tensor, " g"]:
        """Return mean + sum_i reference[z_i] of each graph, float64."""
        return segment_sum(self.reference[z], batch, num_graphs) + self.mean

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> "AtomReadout":
        """Move as modules do, but keep the buffers in float64."""
        kept = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in kept.items():
            moved = self._buffers[name]
            if value is not None and moved is not None:
                self._buffers[name] = value.to(moved.device)
        return self
