"""The box of each graph: its lattice vectors, and long enough ones where it is open."""

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.graph.host import fetched
from molflt.typing import Cells, GraphIndex, Positions


def boxes(
    pos: Positions,
    batch: GraphIndex,
    cell: Cells | None,
    directions: list[list[bool]],
    reach: float,
) -> Cells:
    """Return lattice vectors; open directions orthogonal to them and long enough.

    Where all directions are periodic or all are open, a GPU is not waited for.

    Args:
        pos: Positions (n, 3) [Å], float64.
        batch: Graph of each atom (n,), ascending.
        cell: Lattice vectors as rows (g, 3, 3) [Å], float64, or None.
        directions: Periodic directions of each of the g graphs.
        reach: Distance [Å] beyond which a kernel counts as zero.
    """
    if cell is not None and all(all(three) for three in directions):
        return cell
    inside, axes = pos.detach(), open_axes(cell, directions)
    axes = axes.to(pos.device, non_blocking=True)
    along = torch.einsum("nx,nkx->nk", inside, axes[batch])
    index = batch[:, None].expand(-1, 3)
    ends = [
        inside.new_zeros(len(directions), 3).scatter_reduce(
            0, index, along, which, include_self=False
        )
        for which in ("amax", "amin")
    ]
    found = axes * (ends[0] - ends[1] + reach).unsqueeze(2)
    if cell is None:
        return found
    periodic = torch.tensor(directions).to(pos.device, non_blocking=True)
    return torch.where(periodic.unsqueeze(2), cell, found)


def open_axes(
    cell: Cells | None, directions: list[list[bool]]
) -> Float[Tensor, "g 3 3"]:
    """Return unit vectors along open directions, on the CPU; other rows mean nothing.

    They are orthogonal to each other and to the periodic lattice vectors.

    Args:
        cell: Lattice vectors as rows (g, 3, 3), or None.
        directions: Periodic directions of each of the g graphs.
    """
    axes = torch.eye(3, dtype=torch.float64).repeat(len(directions), 1, 1)
    if cell is None or not any(any(three) for three in directions):
        return axes
    (flat,) = fetched(cell)
    vectors = torch.tensor(flat, dtype=torch.float64).view(-1, 3, 3)
    for graph, periodic in enumerate(directions):
        known = [vectors[graph, k] for k in range(3) if periodic[k]]
        for k in range(3):
            if not periodic[k]:
                axes[graph, k] = _orthogonal(known)
                known.append(axes[graph, k])
    return axes


def _orthogonal(rows: list[Tensor]) -> Float[Tensor, "3"]:
    """Return a unit vector orthogonal to `rows`, near one of the axes."""
    rest = torch.eye(3, dtype=torch.float64)
    if rows:
        basis = torch.linalg.qr(torch.stack(rows).T).Q  # (3, k)
        rest = rest - basis @ basis.T
    axis = rest[:, rest.norm(dim=0).argmax()]
    return axis / axis.norm()
