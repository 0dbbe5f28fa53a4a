"""Slow twins: the formulas written out pair by pair, quadratic, for tests.

Every fast path of `molflt.nn` equals one of these in value and gradient.
"""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.additive import AdditiveAttention
from molflt.nn.far.attention import FarAttention
from molflt.nn.heads import Messages
from molflt.nn.near.attention import NearAttention
from molflt.typing import (
    GraphIndex,
    HeadScalars,
    HeadVectors,
    NodeScalars,
    Positions,
)


def lattice_images(
    cell: Float[Tensor, "3 3"] | None, pbc: list[bool], reach: float
) -> Float[Tensor, "k 3"]:
    """Return every lattice vector T that can bring an atom of the cell within reach.

    Args:
        cell: Lattice vectors as rows [Å]; None for an open system.
        pbc: Periodic directions.
        reach: Distance [Å] to be covered, beyond the cell's own size.
    """
    if cell is None or not any(pbc):
        return torch.zeros(1, 3, dtype=torch.float64)
    periodic = [k for k in range(3) if pbc[k]]
    # The dual basis of the periodic vectors bounds each coefficient of T.
    rows = cell[periodic].double()
    dual = torch.linalg.pinv(rows)  # (3, k)
    size = reach + 2 * rows.norm(dim=1).sum()
    counts = [int(torch.ceil(size * dual[:, k].norm())) for k in range(len(periodic))]
    ranges = [range(-c, c + 1) for c in counts]
    steps = torch.tensor(list(itertools.product(*ranges)), dtype=torch.float64)
    return steps @ rows


def near_attention(
    module: NearAttention,
    x: NodeScalars,
    vec: HeadVectors | None,
    pos: Positions,
    images: Float[Tensor, "k 3"],
) -> Messages:
    """Near heads of one graph: a loop over receivers, senders and images.

    Args:
        module: The module whose function this is.
        x: Scalar features of one graph.
        vec: Vector features (n, 3, h d), or None.
        pos: Positions of one graph [Å].
        images: All lattice vectors T that matter, `lattice_images`.
    """
    q, k, v, *rest = module.project.split(x)
    h = module.num_heads
    mixture, cutoff = module.kernel.mixture, module.kernel.cutoff
    out = torch.zeros_like(v)
    turned = None if vec is None else vec.view(len(x), 3, h, -1) * 0
    moments = None
    if module.contract is not None:
        moments = torch.zeros(len(x), 3, 3, *rest[1].shape[1:]).to(x)
    for i, j, shift in itertools.product(range(len(x)), range(len(x)), images):
        delta = pos[i] - pos[j] - shift.to(pos)
        if i == j and not shift.any():
            continue
        r = delta.norm().reshape(1)
        if r >= cutoff.cutoff:
            continue
        weight = (q[i] * k[j]).sum(-1, keepdim=True)  # (h, 1)
        kernels = mixture.radial(r) * cutoff(r)  # (h, 2h or 3h, 1)
        out[i] = out[i] + weight * kernels[:h] * v[j]
        if turned is not None and vec is not None:
            own = vec[j].view(3, h, -1)
            unit = (delta / (r * r + 1).sqrt()).view(3, 1, 1)
            along = unit * (weight * kernels[h : 2 * h] * rest[0][j])
            turned[i] = turned[i] + along + weight * kernels[:h] * own
            if moments is not None:
                e = unit.flatten()
                matrix = torch.outer(e, e) - (e @ e) / 3 * torch.eye(3).to(e)
                share = weight * kernels[2 * h :] * rest[1][j]
                moments[i] = moments[i] + matrix[:, :, None, None] * share
    vectors = None if turned is None else turned.flatten(2)
    if moments is None:
        return Messages(out.flatten(1), vectors)
    assert module.contract is not None
    first, second = module.contract(moments.flatten(3)).chunk(2, dim=3)
    return Messages(out.flatten(1), vectors, (first * second).sum((1, 2)))


def far_attention(
    module: FarAttention,
    x: NodeScalars,
    pos: Positions,
    images: Float[Tensor, "k 3"],
) -> tuple[HeadScalars, HeadVectors | None]:
    """Far heads of one graph: the closed form of f summed over images.

    Args:
        module: The module whose function this is.
        x: Scalar features of one graph.
        pos: Positions of one graph [Å].
        images: All lattice vectors T that matter, `lattice_images`.
    """
    q, k, v, *rest = module.project.split(x)
    h, n = module.num_heads, len(x)
    delta = pos[:, None, None] - pos[None, :, None] - images.to(pos)  # (n, n, k, 3)
    own = torch.eye(n, dtype=torch.bool)[:, :, None] & ~images.bool().any(1)
    square = torch.where(own, torch.ones_like(delta[..., 0]), delta.square().sum(-1))
    r = square.sqrt().flatten()
    keep = (~own).to(pos)
    weight = torch.einsum("ihe,jhe->hij", q, k)
    f = module.mixture.radial(r)[:h].view(h, *square.shape) * keep
    out = torch.einsum("hij,hijk,jhd->ihd", weight, f, v).flatten(1)
    if not module.vectors:
        return out, None
    slope = module.mixture.slope(r)[h:].view(h, *square.shape) * keep
    turned = torch.einsum("hij,hijk,ijkx,jhd->ixhd", weight, slope, delta, rest[0])
    return out, turned.flatten(2)


def additive_attention(
    module: AdditiveAttention,
    x: NodeScalars,
    pos: Positions,
    images: Float[Tensor, "k 3"],
) -> NodeScalars:
    """Softmax attention of one graph with the closed form of f summed over images."""
    q, k, v = module.split(x)
    delta = pos[:, None, None] - pos[None, :, None] - images.to(pos)
    f = module.rpe.kernel(delta.reshape(-1, 3)).view(-1, *delta.shape[:3]).sum(-1)
    logits = torch.einsum("ihd,jhd->hij", q, k) + f
    rows = torch.exp(logits - logits.amax(-1, keepdim=True).detach())
    rows = rows / rows.sum(-1, keepdim=True)
    return module.mix(torch.einsum("hij,jhd->ihd", rows, v).flatten(1))


def favor_attention(
    module: AdditiveAttention, x: NodeScalars, pos: Positions
) -> NodeScalars:
    """FAVOR+ attention of one graph: the same features, n x n weights multiplied out.

    Not the softmax: `additive_attention` is what this estimates.
    """
    features = module.features
    assert features is not None
    q, k, v = module.split(x)
    xi = module.rpe.frequencies  # (h, s, 3)
    ratio = module.rpe.ratio()
    root = (ratio.square() + 1e-8) ** 0.25
    phase = 2 * math.pi * torch.einsum("nx,hsx->nhs", pos - pos.mean(0), xi)
    waves = torch.cat([phase.cos(), phase.sin()], dim=2) / xi.shape[1] ** 0.5
    left = waves * torch.cat([root, root], dim=1)
    right = waves * torch.cat([ratio / root, ratio / root], dim=1)
    graph = torch.zeros(len(x), dtype=torch.int64)
    phi_q = features.queries(torch.cat([q, left], dim=2))
    phi_k = features.keys(torch.cat([k, right], dim=2), graph, 1)
    rows = torch.einsum("ihm,jhm->hij", phi_q, phi_k)
    rows = rows / rows.sum(-1, keepdim=True)
    return module.mix(torch.einsum("hij,jhd->ihd", rows, v).flatten(1))


def segment_sum(values: Tensor, index: GraphIndex, num_segments: int) -> Tensor:
    """Sum rows by segment with a loop."""
    rows = [values[index == s].sum(0) for s in range(num_segments)]
    return torch.stack(rows)
