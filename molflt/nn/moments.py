"""Sums over pairs with a direction, from moments of the senders' places."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

REACH = 10.0
"""Extent [Å] from the centre up to which moments are as exact as float32: terms of the
size r^l cancel, so at order 2 an error of 6e-8 grows to 6e-6."""


def first_moments(
    weights: Float[Tensor, "h g a a"],
    values: Float[Tensor, "h g a w"],
    places: Float[Tensor, "g a 3"],
) -> Float[Tensor, "h g a 3 w"]:
    """Return sum_j A_ij (r_i - r_j) v_j, without a table for each component.

    It equals r_i (sum_j A_ij v_j) - sum_j A_ij (r_j v_j): one product
    of A with four columns a channel in the place of three products with three tables.

    Args:
        weights: A.
        values: v.
        places: r [Å], near the origin (`REACH`).
    """
    r = places[None, ..., None]  # (1, g, a, 3, 1)
    columns = torch.cat([values.unsqueeze(3), r * values.unsqueeze(3)], dim=3)
    summed = (weights @ columns.flatten(3)).unflatten(3, columns.shape[3:])
    return r * summed[..., :1, :] - summed[..., 1:, :]


def second_moments(
    weights: Float[Tensor, "h g a a"],
    values: Float[Tensor, "h g a w"],
    places: Float[Tensor, "g a 3"],
) -> Float[Tensor, "h g a 5 w"]:
    """Return sum_j A_ij Y(r_i - r_j) v_j, Y the five coordinates of D D^T - |D|^2/3.

    As `first_moments`, from the columns v_j, r_j v_j and r_j r_j^T v_j. The basis is
    that of `molflt.nn.angular`.

    Args:
        weights: A.
        values: v.
        places: r [Å], near the origin (`REACH`).
    """
    r = places
    products = {pair: r[..., pair[0]] * r[..., pair[1]] for pair in _PAIRS}
    powers = [torch.ones_like(r[..., 0]), *r.unbind(-1), *products.values()]
    columns = torch.stack(powers, dim=-1)[None, ..., None] * values.unsqueeze(3)
    summed = (weights @ columns.flatten(3)).unflatten(3, columns.shape[3:])
    total, *rest = summed.unbind(3)
    linear, square = rest[:3], dict(zip(_PAIRS, rest[3:], strict=True))
    place = [part[None, ..., None] for part in r.unbind(-1)]

    def moment(x: int, y: int) -> Tensor:
        crossed = place[x] * linear[y] + place[y] * linear[x]
        return place[x] * place[y] * total - crossed + square[x, y]

    xx, yy, zz = (moment(x, x) for x in range(3))
    mixed = [math.sqrt(2) * moment(*pair) for pair in ((0, 1), (1, 2), (0, 2))]
    diagonal = [(xx - yy) / math.sqrt(2), (2 * zz - xx - yy) / math.sqrt(6)]
    return torch.stack([*mixed, *diagonal], dim=3)


_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
