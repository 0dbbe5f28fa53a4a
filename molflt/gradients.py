"""From a graph to its energy, forces and stress; used as `FLTModel.energy_and_forces`.

The derivatives themselves are in `molflt.nn.gradients`.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor
from torch_geometric.data import Data

from molflt.encoder_inputs import check_inputs
from molflt.errors import InputError, UsageError
from molflt.graph.index import graph_index, has_volume, name_of
from molflt.nn.gradients import Deformation, EnergyForces
from molflt.nn.heads import Path
from molflt.targets import TargetSpec

if TYPE_CHECKING:
    from molflt.model import FLTModel

_MEANING = {
    "relaxed": "an energy after relaxation",
    "property": "a property that is no potential energy",
}


def energy_and_forces(
    model: "FLTModel",
    data: Data,
    name: str | None = None,
    *,
    stress: bool = False,
    create_graph: bool = False,
    path: Path = "auto",
) -> EnergyForces:
    """See `FLTModel.energy_and_forces`."""
    name = potential_target(model.targets, name).name
    with torch.inference_mode(False), torch.enable_grad():
        moved, deformation = deformable(data, stress=stress)
        normalised = model.normalised(moved, path, name=name)[name]
        energy = model.physical(name, normalised, moved)
        slopes = deformation.derivatives(energy, create_graph=create_graph)
    if not create_graph:
        energy, normalised = energy.detach(), normalised.detach()
    return EnergyForces(energy, *slopes, normalised)


def potential_target(
    targets: Sequence[TargetSpec], name: str | None = None
) -> TargetSpec:
    """Return target `name`, or the only potential energy, if it has forces.

    Raises:
        UsageError: It is no potential energy of the geometry given.
    """
    chosen = [t for t in targets if t.name == name or (name is None and has_forces(t))]
    if len(chosen) != 1:
        known = ", ".join(f"{t.name} ({t.kind})" for t in targets)
        raise UsageError(
            f"Forces need the name of one potential energy; the targets are {known}."
        )
    (spec,) = chosen
    if not has_forces(spec):
        raise UsageError(
            f"Target {spec.name!r} is {_MEANING[spec.kind]}, so it has no forces."
        )
    return spec


def has_forces(spec: TargetSpec) -> bool:
    """Whether the target is the potential energy of the geometry given."""
    return spec.kind == "potential"


def deformable(
    data: Data, *, stress: bool = False, strained: Bool[Tensor, " g"] | None = None
) -> tuple[Data, Deformation]:
    """Return a copy of the graphs that can be moved and strained, and by what.

    Call it, and what shall be differentiated, where gradients are on.

    Args:
        data: Graph or batch of graphs; may have been made in inference mode.
        stress: Whether derivatives by the strain are wanted.
        strained: Structures that have them, which are crystals; None: all must.

    Raises:
        InputError: A structure without a periodic cell shall be strained, or no encoder
            could look at the graphs, `check_inputs`.
    """
    check_inputs(data)  # an integer would truncate the strain
    # What was made in inference mode cannot be saved for a backward pass.
    moved = copy.copy(data).apply(lambda t: t.clone() if t.is_inference() else t)
    if stress and strained is None:
        _refuse_without_volume(moved)
    where = (moved.pos, *graph_index(moved), moved.get("cell"))
    deformation = Deformation(*where, stress=stress, strained=strained)
    moved.pos = deformation.pos
    if stress:
        moved.cell = deformation.cell
    return moved, deformation


def _refuse_without_volume(data: Data) -> None:
    """Refuse structures whose stress is not defined, naming the first of them."""
    if data.get("cell") is None or data.get("pbc") is None:
        raise InputError("Stress needs structures with a periodic cell.")
    bad = ~has_volume(data)
    if bad.any():
        index = int(bad.int().argmax())
        raise InputError(
            f"Structure {name_of(data, index)} has no periodic cell with a volume, so "
            "it has no stress."
        )
