"""Masked attention with near and far heads side by side."""

import torch
from torch import Tensor, nn

from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.far.attention import FarAttention
from molflt.nn.geometry import Geometry
from molflt.nn.heads import Messages, Path
from molflt.nn.near.attention import NearAttention
from molflt.nn.spectra.shells import RadialShells
from molflt.typing import NodeScalars, NodeVectors


class MaskedAttention(nn.Module):
    r"""The `masked` form: heads of compact support and heads of any reach.

    Weight of atom j for atom i: softplus(q_i).softplus(k_j) f_h(r_i - r_j) / (2 d_q),
    with d_q channels of q and k, summed without normalisation. Every path of
    either group gives the same function.

    Args:
        width: Channels c of the scalar features.
        vector_width: Channels of the vector features; 0: there are none.
        num_near_heads: Heads with f of compact support; zero for none.
        num_far_heads: Heads with smooth f of any reach; zero for none.
        near_shells: Shells of the near heads.
        far_shells: Shells of the far heads.
        cutoff: Support of the near heads [Å].
        head_width: Scalar value channels of a near head.
        vector_head_width: Vector value channels of a near head.
        matrix_head_width: Matrix value channels of a near head; 0: none.
        far_head_width: Value channels of a far head.
        far_tolerance: Error of far heads where they are not evaluated pair by pair.

    Raises:
        ValueError: No heads at all.
    """

    def __init__(
        self,
        width: int,
        vector_width: int,
        num_near_heads: int,
        num_far_heads: int,
        near_shells: RadialShells,
        far_shells: RadialShells,
        cutoff: float,
        head_width: int = 16,
        vector_head_width: int = 8,
        matrix_head_width: int = 0,
        far_head_width: int = 8,
        far_tolerance: float = 1e-4,
    ) -> None:
        super().__init__()
        if num_near_heads + num_far_heads == 0:
            raise ValueError("attention needs at least one near or far head")
        self.vectors = vector_width > 0
        self.near, self.far = None, None
        scalars = near_vectors = far_vectors = 0
        if num_near_heads:
            self.near = NearAttention(
                width,
                num_near_heads,
                head_width=head_width,
                vector_head_width=vector_head_width * self.vectors,
                matrix_head_width=matrix_head_width * self.vectors,
                query_width=8,
                shells=near_shells,
                cutoff=PolynomialCutoff(cutoff),
            )
            scalars += num_near_heads * head_width
            near_vectors = num_near_heads * vector_head_width
        if num_far_heads:
            self.far = FarAttention(
                width,
                num_far_heads,
                head_width=far_head_width,
                query_width=2,
                shells=far_shells,
                vectors=self.vectors,
                tolerance=far_tolerance,
            )
            scalars += num_far_heads * far_head_width
            far_vectors = num_far_heads * far_head_width
        self.mix = nn.Linear(scalars, width)
        self.vector_in, self.vector_mix = None, None
        if self.vectors:
            if near_vectors:
                self.vector_in = nn.Linear(vector_width, near_vectors, bias=False)
            moved = near_vectors + far_vectors
            self.vector_mix = nn.Linear(moved, vector_width, bias=False)

    def forward(
        self,
        x: NodeScalars,
        vec: NodeVectors | None,
        geometry: Geometry,
        path: Path = "auto",
    ) -> Messages:
        """Return the updates of scalar (n, c) and vector features (n, 3, w)."""
        near, far = None, None
        if self.near is not None:
            near = self.near(x, vec, self.vector_in, geometry, path)
        if self.far is not None:
            far = Messages(*self.far(x, geometry, path))
        return self.combine(near, far)

    def combine(self, near: Messages | None, far: Messages | None) -> Messages:
        """Return the updates that messages of near and far heads make."""
        found = [messages for messages in (near, far) if messages is not None]
        update = self.mix(_side_by_side([part.scalars for part in found]))
        if self.vector_mix is None:
            return Messages(update)
        vectors = [part.vectors for part in found if part.vectors is not None]
        moved = self.vector_mix(_side_by_side(vectors))
        return Messages(update, moved, None if near is None else near.contractions)


def _side_by_side(parts: list[Tensor]) -> Tensor:
    """Return the channels of all parts; of one part without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
