"""Scalars and vectors of each atom from its features, for readouts that need both."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.vector_norm import vector_norm
from molflt.typing import NodeScalars, NodeVectors


class EquivariantHead(nn.Module):
    r"""Outputs that stay, and outputs that turn, when the structure is turned.

    With V1 = norm(V) W1 and V2 = norm(V) W2 (`vector_norm`), products per channel::

        (s, g) = W4 silu(W3 [x, <V1, V2>]),     d = (g * V1) W5

    Without vector features s = W4 silu(W3 x), and there is no d.

    Args:
        width: Channels c of the scalar features.
        vector_width: Channels w of the vector features; 0: there are none.
        num_scalars: Outputs s per atom.
        num_vectors: Outputs d per atom; may be 0.

    Source: the gated equivariant block of PaiNN (arXiv 2102.03150, Fig. 3) and the
    Equivariant Transformer (arXiv 2202.02541), with a product where they have a norm:
    it is smooth at V = 0.
    """

    def __init__(
        self, width: int, vector_width: int, num_scalars: int, num_vectors: int
    ) -> None:
        super().__init__()
        self.num_scalars = num_scalars
        gates = vector_width if num_vectors else 0
        self.pair, self.mix = None, None
        if vector_width:
            self.pair = nn.Linear(vector_width, 2 * vector_width, bias=False)
        if gates:
            self.mix = nn.Linear(gates, num_vectors, bias=False)
        self.hidden = nn.Linear(width + vector_width, width)
        self.last = nn.Linear(width, num_scalars + gates)
        nn.init.zeros_(self.last.bias)
        with torch.no_grad():
            self.last.weight.mul_(0.1)  # a sum over atoms starts near zero

    def forward(
        self, x: NodeScalars, vec: NodeVectors | None
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n 3 k"] | None]:
        """Return scalars (n, s) and vectors (n, 3, k), or None in place of vectors."""
        first = None
        if self.pair is not None:
            assert vec is not None
            first, second = self.pair(vector_norm(vec)).chunk(2, dim=2)
            x = torch.cat([x, (first * second).sum(dim=1)], dim=1)
        out = self.last(nn.functional.silu(self.hidden(x)))
        # In mixed precision the outputs are bf16; sums over many atoms must not be.
        scalars = out[:, : self.num_scalars].to(self.last.weight.dtype)
        if self.mix is None or first is None:
            return scalars, None
        turning = self.mix(out[:, self.num_scalars :].unsqueeze(1) * first)
        return scalars, turning.to(self.mix.weight.dtype)
