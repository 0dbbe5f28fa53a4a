"""Random rows that are orthogonal, with the lengths of Gaussian vectors."""

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonal_rows(
    num_heads: int, count: int, size: int, generator: torch.Generator
) -> Float[Tensor, "h m e"]:
    """Draw rows w ~ N(0, I), orthogonal within blocks of `size` rows, float64.

    Args:
        num_heads: Number of heads, each with its own draws.
        count: Number m of rows of each head.
        size: Length e of a row.
        generator: Source of randomness, on the CPU.

    Source: arXiv 1610.09072 (frequencies); arXiv 2009.14794, Sec. 2.4 (features).
    """
    blocks = -(-count // size)
    shape = (num_heads, blocks, size, size)
    random = torch.randn(shape, generator=generator, dtype=torch.float64)
    q, upper = torch.linalg.qr(random)
    # Signs make the law of q uniform (Haar) over all orthogonal matrices.
    q = q * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    lengths = torch.randn(shape, generator=generator, dtype=torch.float64).norm(dim=-1)
    rows = q.transpose(-1, -2) * lengths.unsqueeze(-1)
    return rows.flatten(1, 2)[:, :count]
