"""A checkpoint as an ASE calculator."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from torch_geometric.data import Batch

from molflt.checkpoint import load
from molflt.data.molecule import atoms_to_graph
from molflt.data.tags import TagRule
from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.structures import refuse_unknown_species
from molflt.targets import TargetSpec

_WITHOUT_FORCES = {
    "relaxed": "predicts the energy after relaxation from an initial structure, which "
    "is no potential energy of the structure given and has no",
    "property": "predicts a property that is no potential energy and has no",
}


class FLTCalculator(Calculator):
    r"""Energies, and forces :math:`F_i = -\partial E / \partial r_i`, of a checkpoint.

    Forces exist where the target is a potential energy; for the energy after
    relaxation (IS2RE), or another property, `implemented_properties` does not list
    them and asking raises an error that says why.

    Args:
        model: A model, or the path of a checkpoint.
        target: Name of the target, in eV; None: the model's only one.
        device: Where it is evaluated; None: where the model is.
        dtype: Precision of the network; None: as trained. Energies are float64 anyway.
        tags: Convention of the structures' tags, see `molflt.data.tags`.

    Raises:
        InputError: The file is not a checkpoint.
        UsageError: The model has several targets in eV, or none.
    """

    # Instances replace it by what their target allows.
    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(
        self,
        model: FLTModel | str | Path,
        target: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        tags: TagRule = "auto",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.model = model if isinstance(model, FLTModel) else load(model)
        self.model.eval().to(device)
        if dtype is not None:  # the offsets stay float64
            self.model.encoder.to(dtype)
            self.model.readouts.to(dtype)
        self.spec = _energy_target(self.model, target)
        self.tags: TagRule = tags
        self.implemented_properties = ["energy", "free_energy"]
        if self.spec.kind == "potential":
            self.implemented_properties.append("forces")

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property as ASE's base class does.

        Raises:
            PropertyNotImplementedError: The checkpoint does not have it.
        """
        if name not in self.implemented_properties:
            reason = _WITHOUT_FORCES.get(self.spec.kind, "has no")
            raise PropertyNotImplementedError(
                f"This checkpoint ({self.spec.name}) {reason} {name}."
            )
        return super().get_property(name, atoms, allow_calculation)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation; tags count, unlike ASE's."""
        changes = list(super().check_state(atoms, tol))
        before = atoms if self.atoms is None else self.atoms
        same = np.array_equal(before.get_tags(), atoms.get_tags())
        return changes if same else [*changes, "tags"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate the model.

        Raises:
            InputError: The structure cannot be used (species, positions, tags).
        """
        super().calculate(atoms, properties, system_changes)
        graph = atoms_to_graph(self.atoms, tags=self.tags, where="The structure")
        refuse_unknown_species(self.model, graph, "The structure")
        graph.pos.requires_grad_("forces" in (properties or []))
        device = next(self.model.parameters()).device
        batch = Batch.from_data_list([graph]).to(device)
        with torch.set_grad_enabled(graph.pos.requires_grad):
            energy = self.model(batch)[self.spec.name].sum()
        self.results = {"energy": energy.item(), "free_energy": energy.item()}
        if graph.pos.requires_grad:
            (gradient,) = torch.autograd.grad(energy, graph.pos)
            self.results["forces"] = -gradient.cpu().numpy()


def _energy_target(model: FLTModel, name: str | None) -> TargetSpec:
    energies = {spec.name: spec for spec in model.targets if spec.unit == "eV"}
    if name is None and len(energies) == 1:
        return next(iter(energies.values()))
    if name not in energies:
        raise UsageError(
            f"target must be one of the checkpoint's targets in eV "
            f"({', '.join(energies)}), not {name!r}."
            if energies
            else "The checkpoint has no target in eV, so it is no calculator."
        )
    return energies[name]
