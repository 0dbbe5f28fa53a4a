"""Where atoms are and which graph each belongs to, checked before it is used."""

import torch
from torch import Tensor

from molflt.errors import InputError

INDICES = (torch.int64, torch.int32)
"""Types that torch sums by."""


def check_places(
    pos: Tensor,
    batch: Tensor | None,
    num_graphs: int | None,
    cell: Tensor | None,
    pbc: Tensor | None,
) -> None:
    """Refuse places that mean nothing, as far as no GPU is waited for.

    Shapes and types are known to the host; values are looked at on the CPU alone.

    Args:
        pos: Positions (n, 3) [Å].
        batch: Graph of each atom (n,), ascending; None: one graph.
        num_graphs: Number of graphs g, of which some may have no atoms; None: as
            `batch` says, and then all have some.
        cell: Lattice vectors as rows (g, 3, 3) [Å], or None.
        pbc: Periodic directions (g, 3), or None.

    Raises:
        InputError: A shape or type is another, or `batch` numbers graphs otherwise than
            from 0 up.
    """
    if pos.dim() != 2 or pos.shape[1] != 3:
        raise InputError(f"pos must have shape (n, 3), received {tuple(pos.shape)}.")
    for name, places in (("pos", pos), ("cell", cell)):
        if places is not None and not places.is_floating_point():
            raise InputError(
                f"{name} must be floating-point numbers [Å], received {places.dtype}."
            )
    for name, given, rest in (("cell", cell, (3, 3)), ("pbc", pbc, (3,))):
        if given is None:
            continue
        graphs = given.shape[:1] if num_graphs is None else (num_graphs,)
        if given.shape != (*graphs, *rest):
            number = "g" if num_graphs is None else num_graphs
            wanted = ", ".join(map(str, (number, *rest)))
            raise InputError(
                f"{name} must have shape ({wanted}), one for each graph, received "
                f"{tuple(given.shape)}."
            )
    if batch is not None:
        _check_batch(batch, len(pos), num_graphs)


def _check_batch(batch: Tensor, num_atoms: int, num_graphs: int | None) -> None:
    """Refuse a `batch` of other atoms or another type, or that counts otherwise."""
    if batch.shape != (num_atoms,):
        raise InputError(
            f"batch must have shape ({num_atoms},), the graph of each atom, received "
            f"{tuple(batch.shape)}."
        )
    if batch.dtype not in INDICES:
        raise InputError(f"batch must be of type torch.int64, received {batch.dtype}.")
    if batch.device.type != "cpu":
        return
    bad = batch < 0
    if num_graphs is not None:
        bad |= batch >= num_graphs
    else:  # a graph that is left out would be one without atoms
        bad |= batch.diff(prepend=batch.new_full((1,), -1)) > 1
    if bad.any():
        atom = int(bad.int().argmax())
        which = (
            "in order, without gaps" if num_graphs is None else f"to {num_graphs - 1}"
        )
        raise InputError(
            f"batch of atom {atom} is {batch[atom].item()}; graphs are numbered from 0 "
            f"{which}, as in a Batch of torch_geometric."
        )
