"""What near and far heads share: queries, keys, values, and the choice of a path."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.geometry import Geometry
from molflt.typing import NodeScalars

Path = Literal["auto", "dense", "linear"]


class Messages(NamedTuple):
    """What attention says to each atom.

    Args:
        scalars: Update of the scalar features, or channels of all heads (n, ·).
        vectors: The same of vector features (n, 3, ·), or None.
        contractions: Products of matrices that do not turn (n, ·), or None.
    """

    scalars: Float[Tensor, "n c"]
    vectors: Float[Tensor, "n 3 w"] | None = None
    contractions: Float[Tensor, "n k"] | None = None


def is_dense(path: Path, size: int, limit: int) -> bool:
    """Whether graphs of up to `size` atoms take the dense path.

    Raises:
        ValueError: `path` is not "auto", "dense" or "linear".
    """
    if path not in ("auto", "dense", "linear"):
        raise ValueError(f"path must be auto, dense or linear, received {path!r}")
    return size <= limit if path == "auto" else path == "dense"


def check_features(
    x: Tensor, vec: Tensor | None, geometry: Geometry, vector_width: int
) -> None:
    """Refuse features that are not those of the atoms of a geometry.

    Raises:
        ValueError: Another number of atoms, type of numbers, or width of vectors; says
            what would be right.
    """
    count, mixed = len(geometry.batch), torch.is_autocast_enabled(x.device.type)
    if len(x) != count:
        raise ValueError(f"x has {len(x)} rows, and the geometry {count} atoms")
    if x.dtype != geometry.dtype and not mixed:
        raise ValueError(
            f"x has {x.dtype} and the geometry {geometry.dtype}: Geometry.of(..., "
            "dtype=x.dtype) has that of the layers"
        )
    found = None if vec is None else tuple(vec.shape)
    right = (count, 3, vector_width) if vector_width else None
    if found != right:
        hint = ", zeros before the first layer" if vector_width else ""
        raise ValueError(f"vec must be {right}{hint}, received {found}")


class HeadProjection(nn.Linear):
    r"""Linear maps to q, k, v and, with vectors, v' of each head, all in one product.

    `split` gives phi(q) / (2 query_width), phi(k), v and v', phi = softplus: weights
    start near softplus(0)^2 / 2, a quarter, and sums over neighbours of order one.

    Args:
        width: Channels of the scalar features.
        num_heads: Number of heads h.
        query_width: Channels of q and k of one head.
        value_widths: Channels of one head of each kind of values: v, v', ...
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        query_width: int,
        value_widths: Sequence[int],
    ) -> None:
        # Queries and keys of all heads side by side in memory: one softplus over both.
        self.sizes = [num_heads * size for size in (2 * query_width, *value_widths)]
        super().__init__(width, sum(self.sizes))
        self.num_heads = num_heads
        self.scale = 0.5 / query_width

    def split(self, x: NodeScalars) -> list[Float[Tensor, "n h _"]]:
        """Return phi(q) / (2 query_width), phi(k), v and, with vectors, v'."""
        both, *values = self(x).split(self.sizes, dim=1)
        heads = (self.num_heads, -1)
        q, k = nn.functional.softplus(both).unflatten(1, (2, *heads)).unbind(1)
        return [q * self.scale, k, *(part.unflatten(1, heads) for part in values)]
