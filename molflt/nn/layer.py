"""One layer of the encoder: attention, then an update of each atom on its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from molflt.nn.attention import FLTAttention
from molflt.nn.geometry import Geometry
from molflt.nn.heads import Messages, Path, check_features
from molflt.nn.masked import MaskedAttention
from molflt.nn.near.attention import NearAttention
from molflt.nn.near.paths import can_stream, near_path
from molflt.nn.plain import can_repeat, is_plain, is_watched
from molflt.nn.streaming import stream_layer, streamed_modules
from molflt.nn.vector_norm import vector_norm
from molflt.typing import HeadScalars, HeadVectors, NodeScalars, NodeVectors


class FLTLayer(nn.Module):
    r"""Pre-norm block: (x, V) += attention, then (x, V) += gated update.

    With V1 = norm(V) W1, V2 = norm(V) W2 (`vector_norm`), products per channel::

        (o, g) = MLP([LN(x), <V1, V2>, contractions])
        x += o,     V += g * V1

    The contractions are those of the attention, if it has any. Without vectors the
    second step is x += MLP(LN(x)).

    By itself, on n atoms::

        layer = FLTLayer(64, FLTAttention(64, cutoff=5.0, vector_width=16))
        geometry = Geometry.of(pos, batch, cutoff=5.0, cell=cell, pbc=pbc)
        x, vec = layer(x, torch.zeros(n, 3, 16), geometry)

    Args:
        width: Channels c of the scalar features.
        attention: The attention; it says how many vector features there are.
        expansion: Hidden width of the MLP over `width`.

    Source: pre-norm Transformer block; the gated update of PaiNN (arXiv 2102.03150,
    Eq. 9) with an inner product where it has a norm, which is smooth at V = 0.
    """

    def __init__(
        self,
        width: int,
        attention: FLTAttention,
        expansion: float = 1.0,
    ) -> None:
        super().__init__()
        vector_width = attention.vector_width
        self.attention = attention
        self.norm = nn.LayerNorm(width)
        self.update_norm = nn.LayerNorm(width)
        self.sizes = [width, vector_width]
        hidden = int(expansion * width)
        self.mlp = nn.Sequential(
            nn.Linear(sum(self.sizes) + attention.num_contractions, hidden),
            nn.SiLU(),
            nn.Linear(hidden, sum(self.sizes)),
        )
        self.vector_pair = None
        if vector_width:
            self.vector_pair = nn.Linear(vector_width, 2 * vector_width, bias=False)

    def forward(
        self,
        x: NodeScalars,
        vec: NodeVectors | None,
        geometry: Geometry,
        path: Path = "auto",
    ) -> tuple[NodeScalars, NodeVectors | None]:
        """Return the scalar (n, c) and vector features (n, 3, w) after the layer.

        Args:
            x: Scalar features.
            vec: Vector features; None if the attention has no vectors.
            geometry: Places of the atoms, and their pairs if there are near heads.
            path: "auto", "dense" or "linear" evaluation of one function (`masked`).

        Raises:
            ValueError: Vectors of another width, or pairs of a smaller cutoff.
        """
        check_features(x, vec, geometry, self.attention.vector_width)
        if self._streams(x, geometry, path):
            return stream_layer(self, x, vec, geometry, path)
        turned = None if vec is None else vector_norm(vec)
        return self._update(
            x, vec, self.attention(self.norm(x), turned, geometry, path)
        )

    @property
    def masked(self) -> MaskedAttention:
        """The attention's heads, which the streamed path takes apart."""
        assert isinstance(self.attention.heads, MaskedAttention)
        return self.attention.heads

    @property
    def near(self) -> NearAttention:
        """The attention's near heads."""
        assert self.masked.near is not None
        return self.masked.near

    def _streams(self, x: NodeScalars, geometry: Geometry, path: Path) -> bool:
        """Whether the streamed path is chosen and nobody watches the attention."""
        heads = self.attention.heads
        if not isinstance(heads, MaskedAttention) or heads.near is None:
            return False
        way = near_path(path, geometry)
        if way != "streamed" or not can_stream(x):
            return False
        if not is_plain(heads.near.project, heads.vector_in):
            return False
        if not can_repeat(*streamed_modules(self)):
            return False
        return not any(map(is_watched, self.attention.modules()))

    def send(
        self, x: NodeScalars, vec: NodeVectors | None
    ) -> tuple[Tensor, HeadVectors | None]:
        """Return what atoms send by near heads, as `NearRows` reads it.

        Numbers (n, ·) and vectors (n, 3, ·), or None.
        """
        turned = None if vec is None else vector_norm(vec)
        return self.near.sent(self.norm(x), turned, self.masked.vector_in)

    def receive(
        self,
        sums: Sequence[Tensor],
        x: NodeScalars,
        vec: NodeVectors | None = None,
        far_scalars: HeadScalars | None = None,
        far_vectors: HeadVectors | None = None,
    ) -> tuple[NodeScalars, NodeVectors | None]:
        """Return the features after the layer, from what near and far heads sum.

        Args:
            sums: Scalars, vectors and matrices of the near heads.
            x: Scalar features (n, c).
            vec: Vector features (n, 3, w), or None.
            far_scalars: Scalars of the far heads (n, ·), or None.
            far_vectors: Vectors of the far heads (n, 3, ·), or None.
        """
        far = None if far_scalars is None else Messages(far_scalars, far_vectors)
        near = self.near.contracted(*sums)
        return self._update(x, vec, self.masked.combine(near, far))

    def _update(
        self, x: NodeScalars, vec: NodeVectors | None, messages: Messages
    ) -> tuple[NodeScalars, NodeVectors | None]:
        x = x + messages.scalars
        if self.vector_pair is None or vec is None:
            return x + self.mlp(self.update_norm(x)), None
        assert messages.vectors is not None
        return self._gated(x, vec + messages.vectors, messages.contractions)

    def _gated(
        self, x: Tensor, vec: Tensor, contractions: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert self.vector_pair is not None
        first, second = self.vector_pair(vector_norm(vec)).chunk(2, dim=2)
        inner = (first * second).sum(dim=1)  # (n, w), invariant under rotation
        seen = [self.update_norm(x), inner]
        if contractions is not None:
            seen.append(contractions)
        out = self.mlp(torch.cat(seen, dim=1))
        update, gate = out.split(self.sizes, dim=1)
        return x + update, vec + gate.unsqueeze(1) * first
