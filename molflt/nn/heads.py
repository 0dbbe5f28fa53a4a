"""What near and far heads share: queries, keys, values, and the choice of a path."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from molflt.typing import NodeScalars

Path = Literal["auto", "dense", "linear"]


def is_dense(path: Path, size: int, limit: int) -> bool:
    """Whether graphs of up to `size` atoms take the dense path.

    Raises:
        ValueError: `path` is not "auto", "dense" or "linear".
    """
    if path not in ("auto", "dense", "linear"):
        raise ValueError(f"path must be auto, dense or linear, received {path!r}")
    return size <= limit if path == "auto" else path == "dense"


class HeadProjection(nn.Linear):
    r"""Linear maps to q, k, v and, with vectors, v' of each head, all in one product.

    `split` gives phi(q) / (2 query_width), phi(k), v and v', phi = softplus: with some
    15 neighbours of weight softplus(0)^2 = 0.5, sums start with unit variance.

    Args:
        width: Channels of the scalar features.
        num_heads: Number of heads h.
        head_width: Value channels d of one head.
        query_width: Channels of q and k of one head.
        vectors: Whether v' is wanted.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        head_width: int,
        query_width: int,
        vectors: bool,
    ) -> None:
        sizes = [query_width, query_width, *[head_width] * (1 + vectors)]
        super().__init__(width, num_heads * sum(sizes))
        self.sizes = sizes
        self.num_heads = num_heads
        self.scale = 0.5 / query_width

    def split(self, x: NodeScalars) -> list[Float[Tensor, "n h _"]]:
        """Return phi(q) / (2 query_width), phi(k), v and, with vectors, v'."""
        parts = self(x).view(-1, self.num_heads, sum(self.sizes))
        q, k, *values = parts.split(self.sizes, dim=2)
        softplus = nn.functional.softplus
        return [softplus(q) * self.scale, softplus(k), *values]
