"""What near and far heads share: queries, keys, values, and the choice of a path."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

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


def check_vectors(vec: Tensor | None, width: int) -> None:
    """Refuse vector features of another width than a layer has.

    Raises:
        ValueError: Says what would be right.
    """
    found = 0 if vec is None else vec.shape[-1]
    if found != width:
        right = (
            "None" if not width else f"(n, 3, {width}), zeros before the first layer"
        )
        raise ValueError(f"vec must be {right}, received {found} channels of vectors")


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
