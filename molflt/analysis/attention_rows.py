"""Rows of the attention matrix of one structure, per kind of head, as tensors.

Each function returns a_ij (h, m, n) for m atoms i of one graph of n atoms, such that
sum_j a_ij v_j is the head's scalar message to atom i, before heads are mixed.
"""

import math
from collections.abc import Callable

from torch import Tensor, cat, einsum

from molflt.nn.additive import AdditiveAttention
from molflt.nn.far.attention import FarAttention
from molflt.nn.far.lattice import LATTICE_TOLERANCE
from molflt.nn.geometry import Geometry
from molflt.nn.near.attention import NearAttention
from molflt.nn.spectra.spectrum import RadialGaussianMixture, distance


def near_rows(
    module: NearAttention, x: Tensor, geometry: Geometry, atoms: Tensor
) -> Tensor:
    """Return w_ij f_h(r_ij), images of a pair added up.

    w_ij = softplus(q_i).softplus(k_j) / (2 d_q), with d_q channels of q.

    Args:
        module: The near heads.
        x: Features (n, c) that the attention received.
        geometry: Places and neighbour pairs of one graph.
        atoms: Atoms i (m,).
    """
    pairs = geometry.pairs
    assert pairs is not None
    q, k, *_ = module.project.split(x)
    distance = cat([pairs.r, pairs.r])
    f = summed_images(
        lambda mine: module.kernel.radial(distance[mine]), geometry, atoms, len(x)
    )
    return einsum("ihe,jhe->hij", q[atoms], k) * f


def summed_images(
    values: Callable[[Tensor], Tensor], geometry: Geometry, atoms: Tensor, size: int
) -> Tensor:
    """Return what neighbour pairs have, added up over images of a pair (h, m, n).

    Args:
        values: Takes numbers of directed pairs (e,), returns what they have (h, e).
        geometry: Neighbour pairs of one graph.
        atoms: Receivers i (m,).
        size: Atoms n of the graph.
    """
    pairs = geometry.pairs
    assert pairs is not None
    row = atoms.new_full((size,), -1).index_copy(0, atoms, _count(atoms))
    mine = (row[pairs.receiver] >= 0).nonzero().squeeze(1)
    place = row[pairs.receiver[mine]] * size + pairs.sender[mine]
    found = values(mine)
    out = found.new_zeros(len(found), len(atoms) * size).index_add(1, place, found)
    # An atom asked for twice has its pairs in the row of its last mention.
    return out.unflatten(1, (len(atoms), size))[:, row[atoms]]


def far_rows(
    module: FarAttention, x: Tensor, geometry: Geometry, atoms: Tensor
) -> Tensor:
    """Return w_ij sum_T f_h(r_i - r_j - T), less j = i, T = 0; w_ij as of near heads.

    Args:
        module: The far heads.
        x: Features (n, c) that the attention received.
        geometry: Places of one graph.
        atoms: Atoms i (m,).
    """
    q, k, *_ = module.project.split(x)
    heads = module.num_heads
    tolerance = module.kernel_tolerance
    f = _encoding(module.mixture, geometry, atoms, tolerance)[:heads]
    own = f[:, _count(atoms), atoms]
    # Of an atom itself only its images are left; in an open system there are none.
    images = own - module.mixture.weights[:heads].sum(1, keepdim=True)  # less f_h(0)
    f[:, _count(atoms), atoms] = images if geometry.is_periodic else 0 * own
    return einsum("ihe,jhe->hij", q[atoms], k) * f


def far_message_rows(
    module: FarAttention,
    x: Tensor,
    geometry: Geometry,
    atoms: Tensor,
    slope: Tensor,
    turn: Tensor | None = None,
) -> Tensor:
    """Return <slope_i, s_ij> + <turn_i, S_ij> (h, m, n) of the far heads' messages.

    Args:
        module: The far heads.
        x: Features (n, c) that the attention received.
        geometry: Places of one graph.
        atoms: Atoms i (m,).
        slope: What scalar messages are multiplied with (n, h d).
        turn: The same for vector messages (n, 3, h d); None: there are none.
    """
    q, k, *values = module.project.split(x)
    heads = module.num_heads
    mine = slope[atoms].unflatten(1, (heads, -1))
    read = einsum("ihd,jhd->hij", mine, values[0])
    out = far_rows(module, x, geometry, atoms) * read
    if turn is None:
        return out
    push = turn[atoms].unflatten(2, (heads, -1))
    read = einsum("ixhd,jhd->xhij", push, values[1])
    weights = einsum("ihe,jhe->hij", q[atoms], k)
    return out + weights * (_gradient(module, geometry, atoms) * read).sum(0)


def additive_rows(
    module: AdditiveAttention, x: Tensor, geometry: Geometry, atoms: Tensor
) -> Tensor:
    """Return the rows of the softmax, or of the FAVOR+ estimate the module uses.

    Args:
        module: The heads.
        x: Features (n, c) that the attention received.
        geometry: Places of one graph.
        atoms: Atoms i (m,).
    """
    q, k, _ = module.split(x)
    if module.features is not None:
        phi_q, phi_k = module.feature_pair(q, k, geometry)
        rows = einsum("ihm,jhm->hij", phi_q[atoms], phi_k)
        return rows / rows.sum(-1, keepdim=True)
    logits = einsum("ihd,jhd->hij", q[atoms], k)
    spectrum = module.rpe.spectrum
    if isinstance(spectrum, RadialGaussianMixture):
        f = _encoding(spectrum, geometry, atoms)
    else:
        delta = _deltas(geometry, atoms)
        f = spectrum.kernel(delta.view(-1, 3)).unflatten(1, delta.shape[:2])
    return (logits + f).softmax(dim=-1)


def _encoding(
    mixture: RadialGaussianMixture,
    geometry: Geometry,
    atoms: Tensor,
    tolerance: float = LATTICE_TOLERANCE,
) -> Tensor:
    """Return f of every head (h, m, n), images included, the pair j = i too."""
    if not geometry.is_periodic:
        delta = _deltas(geometry, atoms)
        return mixture.kernel(delta.view(-1, 3)).unflatten(1, delta.shape[:2])
    modes = geometry.modes(mixture.shells, tolerance)
    density = mixture.density(modes.vectors) * modes.weights  # (h, 1, modes)
    cos, sin = modes.cos[0], modes.sin[0]  # (n, modes)
    left = cat([cos[atoms] * density, sin[atoms] * density], dim=2)
    return left @ cat([cos, sin], dim=1).T


def _gradient(module: FarAttention, geometry: Geometry, atoms: Tensor) -> Tensor:
    """Return grad p of every head (3, h, m, n), images included."""
    mixture, heads = module.mixture, module.num_heads
    if not geometry.is_periodic:
        delta = _deltas(geometry, atoms)
        slope = mixture.slope(distance(delta).flatten())[heads:]
        return (
            slope.unflatten(1, delta.shape[:2])[None] * delta.permute(2, 0, 1)[:, None]
        )
    modes = geometry.modes(mixture.shells, module.kernel_tolerance)
    density = (mixture.density(modes.vectors) * modes.weights)[heads:]  # (h, 1, modes)
    # d/dD cos(2 pi G.D) = -2 pi G sin(2 pi G.D)
    tilt = -2 * math.pi * modes.vectors[0].T[:, None, None]  # (3, 1, 1, modes)
    cos, sin = modes.cos[0], modes.sin[0]  # (n, modes)
    left = cat([sin[atoms], -cos[atoms]], dim=1) * cat([tilt * density] * 2, dim=3)
    return left @ cat([cos, sin], dim=1).T


def _deltas(geometry: Geometry, atoms: Tensor) -> Tensor:
    places = geometry.centred
    return (places[atoms, None] - places).to(geometry.dtype)


def _count(atoms: Tensor) -> Tensor:
    return atoms.new_ones(len(atoms)).cumsum(0) - 1
