"""Sums over pairs with a direction, from moments of the senders' places."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

REACH = 10.0
"""Extent [Å] from the centre up to which moments are as exact as float32: terms of the
size r^l cancel, so at order 2 an error of 6e-8 grows to 6e-6."""


def first_moments(
    weights: Float[Tensor, "h g a a"],
    values: Float[Tensor, "g a h w"],
    places: Float[Tensor, "g a 3"],
    others: Float[Tensor, "h g a 3 w"],
) -> Float[Tensor, "g a 3 u"]:
    """Return sum_j A_ij (r_i - r_j) v_j + o_i, without a table for each component.

    It equals r_i (sum_j A_ij v_j) - sum_j A_ij (r_j v_j): one product
    of A with four columns a channel in the place of three products with three tables.

    Args:
        weights: A.
        values: v, all heads of an atom together: factors then apply to long rows.
        places: r [Å], near the origin (`REACH`).
        others: o, what else is summed, head by head.
    """
    r = places.unsqueeze(3)  # (g, a, 3, 1)
    sums = _sums(weights, values, [None, *(-r).unbind(2)])
    total, turned = sums.split([1, 3], dim=3)
    return torch.addcmul(in_rows(turned + others), r, in_rows(total))


def second_moments(
    weights: Float[Tensor, "h g a a"],
    values: Float[Tensor, "g a h w"],
    places: Float[Tensor, "g a 3"],
) -> Float[Tensor, "g a 5 u"]:
    """Return sum_j A_ij Y(r_i - r_j) v_j, Y the five coordinates of D D^T - |D|^2/3.

    As `first_moments`, from the columns v_j, r_j v_j and r_j r_j^T v_j. The basis is
    that of `molflt.nn.angular`.

    Args:
        weights: A.
        values: v, all heads of an atom together.
        places: r [Å], near the origin (`REACH`).
    """
    place = places.unsqueeze(3).unbind(2)  # (g, a, 1) each
    products = [place[x] * place[y] for x, y in _PAIRS]
    sums = in_rows(_sums(weights, values, [None, *place, *products]))
    total, *rest = sums.unbind(2)
    linear, square = rest[:3], dict(zip(_PAIRS, rest[3:], strict=True))

    def moment(x: int, y: int) -> Tensor:
        crossed = place[x] * linear[y] + place[y] * linear[x]
        return place[x] * place[y] * total - crossed + square[x, y]

    xx, yy, zz = (moment(x, x) for x in range(3))
    mixed = [math.sqrt(2) * moment(*pair) for pair in ((0, 1), (1, 2), (0, 2))]
    diagonal = [(xx - yy) / math.sqrt(2), (2 * zz - xx - yy) / math.sqrt(6)]
    return torch.stack([*mixed, *diagonal], dim=2)


def in_rows(values: Float[Tensor, "h g a k w"]) -> Float[Tensor, "g a k u"]:
    """Return all heads of an atom together."""
    return values.permute(1, 2, 3, 0, 4).flatten(3)


def _sums(
    weights: Float[Tensor, "h g a a"],
    values: Float[Tensor, "g a h w"],
    factors: Sequence[Float[Tensor, "g a 1"] | None],
) -> Float[Tensor, "h g a k w"]:
    """Return sum_j A_ij p_j v_j for each factor p; None: 1."""
    heads, width = values.shape[2:]
    rows = values.flatten(2)
    columns = torch.stack([rows if p is None else p * rows for p in factors], dim=2)
    columns = columns.unflatten(3, (heads, width)).permute(3, 0, 1, 2, 4).flatten(3)
    return (weights @ columns).unflatten(3, (len(factors), width))


_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
