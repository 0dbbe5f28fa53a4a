"""What an encoder is given, checked as far as no GPU is waited for."""

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from molflt.elements import MAX_Z
from molflt.errors import InputError
from molflt.graph.places import INDICES, check_places

TAGS = (-1, 2)
"""Least and largest tag."""


def check_inputs(data: Data) -> None:
    """Refuse a graph or batch of graphs that an encoder cannot look at.

    Shapes are known to the host; values are looked at on the CPU alone.

    Args:
        data: The graph or batch.

    Raises:
        InputError: Atoms or positions are missing, fields have other shapes or types,
            there is no such element or tag, or graphs are numbered otherwise than from
            0 up.
    """
    z, pos = data.get("z"), data.get("pos")
    if z is None or pos is None:
        missing = "atomic numbers z" if z is None else "positions pos"
        raise InputError(f"An encoder needs {missing}: encoder(z, pos).")
    if z.dim() != 1 or not len(z):
        raise InputError(
            "z must be the atomic numbers (n,) of at least one atom, received shape "
            f"{tuple(z.shape)}."
        )
    shapes = {"pos": (len(z), 3), "tags": (len(z),)}
    for name, shape in shapes.items():
        given = data.get(name)
        if given is not None and given.shape != shape:
            raise InputError(
                f"{name} must have shape {shape}, as z has {len(z)} atoms, received "
                f"{tuple(given.shape)}."
            )
    if z.is_floating_point() or z.dtype == torch.bool:
        raise InputError(f"z must be whole numbers, received {z.dtype}.")
    tags = data.get("tags")
    if tags is not None and tags.dtype not in INDICES:
        raise InputError(f"tags must be of type torch.int64, received {tags.dtype}.")
    batch = data.get("batch")
    known = data.num_graphs if isinstance(data, Batch) else data.get("num_graphs")
    number = 1 if batch is None else known
    check_places(pos, batch, number, data.get("cell"), data.get("pbc"))
    _check_range(z, 1, MAX_Z, "z", "atomic numbers")
    if tags is not None:
        _check_range(tags, *TAGS, "tags", "OC20's tags")


def _check_range(values: Tensor, least: int, most: int, name: str, what: str) -> None:
    """Refuse numbers that no row of an embedding is of, which a GPU does by itself."""
    if values.device.type != "cpu":
        return
    smallest, largest = torch.aminmax(values)
    if smallest >= least and largest <= most:
        return
    atom = int(((values < least) | (values > most)).int().argmax())
    raise InputError(
        f"{name} of atom {atom} is {values[atom].item()}; {what} are {least} to {most}."
    )
