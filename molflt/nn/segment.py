"""Sums, means and maxima over the atoms of each graph.

The only file that imports `torch_scatter`; where it is not installed, torch's own
`index_add` and `scatter_reduce` give the same numbers.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molflt.graph.host import segment_count

try:
    import torch_scatter

    HAS_TORCH_SCATTER = True
except (ImportError, OSError):  # absent, or built against another torch
    HAS_TORCH_SCATTER = False


def _knows_gpus() -> bool:
    """Whether torch_scatter was built with CUDA: its version there, -1 without."""
    return HAS_TORCH_SCATTER and torch.ops.torch_scatter.cuda_version() > 0


def prefers_torch_scatter(values: Tensor) -> bool:
    """Whether torch_scatter sums `values`: on GPUs, where it is installed.

    On a CPU `index_add` is faster: it moves whole rows, where a scatter looks up the
    index of every element.
    """
    return values.is_cuda and _knows_gpus()


def segment_sum(
    values: Float[Tensor, " k *f"], index: Int[Tensor, " k"], num_segments: int
) -> Float[Tensor, " num_segments *f"]:
    """Return out[s] = sum of values[k] over k with index[k] = s; empty segments are 0.

    Args:
        values: Rows to be summed.
        index: Segment of each row.
        num_segments: Number of rows returned.
    """
    if prefers_torch_scatter(values):
        return torch_scatter.scatter(
            values, index, dim=0, dim_size=num_segments, reduce="sum"
        )
    return values.new_zeros(num_segments, *values.shape[1:]).index_add(0, index, values)


def segment_mean(
    values: Float[Tensor, " k *f"], index: Int[Tensor, " k"], num_segments: int
) -> Float[Tensor, " num_segments *f"]:
    """Return the mean of the rows of each segment; empty segments are 0."""
    total = segment_sum(values, index, num_segments)
    count = segment_count(index, num_segments).clamp(min=1)
    return total / count.to(values.dtype).view(-1, *(1,) * (values.dim() - 1))


def segment_max(
    values: Float[Tensor, " k *f"], index: Int[Tensor, " k"], num_segments: int
) -> Float[Tensor, " num_segments *f"]:
    """Return the maximum of the rows of each segment; empty segments are 0."""
    if prefers_torch_scatter(values):
        return torch_scatter.scatter(
            values, index, dim=0, dim_size=num_segments, reduce="max"
        )
    out = values.new_zeros(num_segments, *values.shape[1:])
    expanded = index.view(-1, *(1,) * (values.dim() - 1)).expand_as(values)
    return out.scatter_reduce(0, expanded, values, "amax", include_self=False)
