"""Attention of all atoms to all in closed radial frequencies, for comparison.

Written from the paper: J. T. Frank, S. Chmiela, K.-R. Müller, O. T. Unke, "Euclidean
Fast Attention", arXiv:2412.08541, Eq. 7 to 11.
"""

import math

import torch
from scipy.integrate import lebedev_rule
from torch import Tensor, nn


class EuclideanFastAttention(nn.Module):
    r"""Linear attention with rotary encodings along directions u, averaged over them.

        y_i = sum_u lambda_u  sum_j <R(w u.r_i) q_i, R(w u.r_j) k_j> v_j

    R turns pairs of channels (2c, 2c + 1) by the angle w_c u.r; the average over a
    sphere of cos(w u.r_ij) is sinc(w r_ij). A Lebedev grid makes it exact up to an
    order that is proportional to w_max r_max. All of one graph.

    Args:
        width: Channels c of the features, and of v.
        query_width: Channels of q and k, even.
        degree: Degree of the Lebedev rule (arXiv:2412.08541 uses 50 directions for
            w_max r_max up to pi, which is degree 11).
        max_frequency: Largest w [1/Å].
    """

    def __init__(
        self,
        width: int,
        query_width: int = 16,
        degree: int = 11,
        max_frequency: float = math.pi / 10,
    ) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * query_width + width, bias=False)
        self.mix = nn.Linear(width, width)
        self.sizes = [query_width, query_width, width]
        directions, weights = lebedev_rule(degree)
        self.register_buffer("directions", torch.tensor(directions.T).float())
        self.register_buffer("weights", torch.tensor(weights / weights.sum()).float())
        frequencies = torch.linspace(0, max_frequency, query_width // 2)
        self.register_buffer("frequencies", frequencies)

    directions: Tensor
    weights: Tensor
    frequencies: Tensor

    def forward(self, x: Tensor, pos: Tensor) -> Tensor:
        """Return the update (n, c) of features (n, c) at positions (n, 3) [Å]."""
        q, k, v = self.project(x).split(self.sizes, dim=1)
        q, k = nn.functional.silu(q), nn.functional.silu(k)
        out = torch.zeros_like(v)
        for direction, weight in zip(self.directions, self.weights, strict=True):
            angle = torch.outer(pos @ direction, self.frequencies)
            cos, sin = angle.cos(), angle.sin()
            state = _turn(k, cos, sin).T @ v  # (query_width, c)
            out = out + weight * (_turn(q, cos, sin) @ state)
        return self.mix(out / math.sqrt(len(x)))


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of channels by an angle each."""
    even, odd = x[:, ::2], x[:, 1::2]
    return torch.cat([even * cos - odd * sin, even * sin + odd * cos], dim=1)
