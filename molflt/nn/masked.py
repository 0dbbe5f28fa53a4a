"""Masked attention with near and far heads side by side."""

import torch
from torch import nn

from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.far import FarAttention
from molflt.nn.geometry import Geometry
from molflt.nn.heads import Path
from molflt.nn.near import NearAttention
from molflt.nn.shells import RadialShells
from molflt.typing import NodeScalars, NodeVectors


class MaskedAttention(nn.Module):
    r"""The `masked` form: heads of compact support and heads of any reach.

    Weight of atom j for atom i: softplus(q_i).softplus(k_j) f_h(r_i - r_j), summed
    without normalisation. Every path of either group gives the same function.

    Args:
        width: Channels c of scalar and vector features.
        num_near_heads: Heads with f of compact support; zero for none.
        num_far_heads: Heads with smooth f of any reach; zero for none.
        near_shells: Shells of the near heads.
        far_shells: Shells of the far heads.
        cutoff: Support of the near heads [Å].
        vectors: Whether there are vector features.
        head_width: Value channels of a near head.
        far_head_width: Value channels of a far head.

    Raises:
        ValueError: No heads at all.
    """

    def __init__(
        self,
        width: int,
        num_near_heads: int,
        num_far_heads: int,
        near_shells: RadialShells,
        far_shells: RadialShells,
        cutoff: float,
        vectors: bool = True,
        head_width: int = 16,
        far_head_width: int = 8,
    ) -> None:
        super().__init__()
        if num_near_heads + num_far_heads == 0:
            raise ValueError("attention needs at least one near or far head")
        self.vectors = vectors
        self.near, self.far = None, None
        total = 0
        if num_near_heads:
            self.near = NearAttention(
                width,
                num_near_heads,
                head_width=head_width,
                query_width=8,
                shells=near_shells,
                cutoff=PolynomialCutoff(cutoff),
                vectors=vectors,
            )
            total += num_near_heads * head_width
        if num_far_heads:
            self.far = FarAttention(
                width,
                num_far_heads,
                head_width=far_head_width,
                query_width=2,
                shells=far_shells,
                vectors=vectors,
            )
            total += num_far_heads * far_head_width
        self.mix = nn.Linear(total, width)
        if vectors:
            moved = num_near_heads * head_width
            self.vector_in = nn.Linear(width, moved, bias=False) if moved else None
            self.vector_mix = nn.Linear(total, width, bias=False)

    def forward(
        self,
        x: NodeScalars,
        vec: NodeVectors | None,
        geometry: Geometry,
        path: Path = "auto",
    ) -> tuple[NodeScalars, NodeVectors | None]:
        """Return the updates of scalar (n, c) and vector features (n, 3, c)."""
        scalars, vectors = [], []
        if self.near is not None:
            moved = self.vector_in(vec) if self.vectors and self.vector_in else None
            out, turned = self.near(x, moved, geometry, path)
            scalars.append(out)
            vectors.append(turned)
        if self.far is not None:
            out, turned = self.far(x, geometry, path)
            scalars.append(out)
            vectors.append(turned)
        update = self.mix(torch.cat(scalars, dim=-1))
        if not self.vectors:
            return update, None
        return update, self.vector_mix(torch.cat(vectors, dim=-1))
