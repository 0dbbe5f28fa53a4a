"""One layer of the encoder: attention, then an update of each atom on its own."""

from torch import Tensor, nn

from molflt.nn.attention import FLTAttention
from molflt.nn.geometry import Geometry
from molflt.nn.heads import Path
from molflt.typing import NodeScalars, NodeVectors


def vector_norm(vec: NodeVectors) -> NodeVectors:
    """Return V / sqrt(1 + mean_c |V_c|^2): bounded, equivariant, smooth at V = 0."""
    square = vec.square().sum(dim=1, keepdim=True).mean(dim=2, keepdim=True)
    return vec * (square + 1).rsqrt()


class FLTLayer(nn.Module):
    r"""Pre-norm block: (x, V) += attention, then (x, V) += gated update.

    With V1 = norm(V) W1, V2 = norm(V) W2 (`vector_norm`), products per channel::

        (o1, o2, o3) = MLP(LN(x))
        x += o1 + o2 * <V1, V2>,     V += o3 * V1

    Without vectors the second step is x += MLP(LN(x)).

    Args:
        width: Channels c of scalar and vector features.
        attention: The attention; it says whether there are vector features.
        expansion: Hidden width of the MLP over `width`.

    Source: pre-norm Transformer block; gates as in PaiNN (arXiv 2102.03150, Eq. 9) and
    the Equivariant Transformer (arXiv 2202.02541).
    """

    def __init__(
        self,
        width: int,
        attention: FLTAttention,
        expansion: float = 1.0,
    ) -> None:
        super().__init__()
        vectors = attention.vectors
        self.attention = attention
        self.norm = nn.LayerNorm(width)
        self.update_norm = nn.LayerNorm(width)
        hidden = int(expansion * width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.SiLU(),
            nn.Linear(hidden, width * (3 if vectors else 1)),
        )
        self.vector_pair = nn.Linear(width, 2 * width, bias=False) if vectors else None

    def forward(
        self,
        x: NodeScalars,
        vec: NodeVectors | None,
        geometry: Geometry,
        path: Path = "auto",
    ) -> tuple[NodeScalars, NodeVectors | None]:
        """Return the scalar (n, c) and vector features (n, 3, c) after the layer."""
        turned = None if vec is None else vector_norm(vec)
        update, moved = self.attention(self.norm(x), turned, geometry, path)
        x = x + update
        if self.vector_pair is None or vec is None:
            return x + self.mlp(self.update_norm(x)), None
        assert moved is not None
        return self._gated(x, vec + moved)

    def _gated(self, x: Tensor, vec: Tensor) -> tuple[Tensor, Tensor]:
        assert self.vector_pair is not None
        first, second = self.vector_pair(vector_norm(vec)).chunk(2, dim=2)
        bias, gain, gate = self.mlp(self.update_norm(x)).chunk(3, dim=1)
        inner = (first * second).sum(dim=1)  # (n, c), invariant under rotation
        return x + bias + gain * inner, vec + gate.unsqueeze(1) * first
