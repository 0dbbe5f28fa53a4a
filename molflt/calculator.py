"""Checkpoints as an ASE calculator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.outputs import all_outputs
from torch_geometric.data import Data

from molflt.admission import admit
from molflt.ase_results import in_ase_units
from molflt.ase_units import ase_unit
from molflt.data.labels.electrons import stated
from molflt.data.molecule import atoms_arrays, system_graph
from molflt.data.tags import TagRule
from molflt.domain import Domain
from molflt.energy_target import energy_target
from molflt.errors import InputError, UsageError
from molflt.evaluation import Ensemble, Request
from molflt.graph.index import has_volume
from molflt.graph.skin import MIN_ATOMS
from molflt.model import FLTModel
from molflt.nn.readout.base import AtomReadout
from molflt.nn.readout.dipole import DipoleReadout
from molflt.one_thread import OneThread, in_one_thread
from molflt.provenance import checkpoint_words
from molflt.warn import warn

_DERIVATIVES = ("forces", "stress")
_WITHOUT_FORCES = {
    "relaxed": "predicts the energy after relaxation from an initial structure, which "
    "is no potential energy of the structure given and has no",
    "property": "predicts a property that is no potential energy and has no",
}


class FLTCalculator(Calculator):
    r"""Energies, forces, stress and all other targets of a checkpoint, in ASE's units.

    ============= ============================ =======================================
    property      for                          meaning
    ============= ============================ =======================================
    energy        potential, relaxed energies  E [eV]
    free_energy   potential energies           the same
    forces        potential energies           F_i = -dE/dr_i (n, 3) [eV/Å]
    stress        potential energies           (1/V) dE/d(strain), Voigt's order (6,)
                                               [eV/Å^3]; structures with a cell
    energies      potential energies, sums     atoms' shares of E (n,) [eV]
    {target}      every target                 its value (`units` has the units)
    dipole        dipole moments               the vector (3,) [e Å]; its overall sign
                                               is not determined, as labels are lengths
    {..}_std      two or more models           standard deviation over the models
    ============= ============================ =======================================

    `implemented_properties` lists what the checkpoint has: the energy after relaxation
    (IS2RE) has no forces, and asking for them raises an error that says why. `results`
    holds what ASE has a name for, so that its own functions can use it; `others` the
    rest: targets of other names and standard deviations. `get_property` knows all.
    `parameters`, which ASE keeps in databases, has checkpoints, target and `tags`.

    Neighbour lists of large systems, and on a GPU, are kept with a skin (`SkinList`),
    and tags are read when anything but positions and cell changes.

    Args:
        model: A model (which is copied), the path of a checkpoint, the name of a
            shipped one (`molflt.pretrained`), or several of them: results are then
            means over the models.
        device: Where it is evaluated; None: where the model is; "auto": a GPU if any.
        dtype: Precision of the network, "float32" or "float64"; None: as trained.
            Energies are float64 anyway.
        target: Target that stands for the energy; None: the only potential energy,
            else the only relaxed one.
        tags: Convention of the structures' tags, see `molflt.data.tags`.
        label: As in ASE's `Calculator`, whose options these three are.
        directory: Likewise.
        atoms: Structure that gets this calculator.

    Raises:
        InputError: A file is not a checkpoint.
        UsageError: The model has several potential energies, `target` is no
            energy, models of an ensemble differ in their targets, or there is no such
            device, precision or rule.

    Warns:
        UserWarning: The checkpoint does not say what it was trained on; two models have
            the same weights; a structure has boundary conditions that the training set
            has not, no tags where all of the training set had, or atoms closer to each
            other than bonds are. Not again as long as one structure after the other
            has that.
    """

    # Instances replace it by what their checkpoint has.
    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(
        self,
        model: FLTModel | str | Path | Sequence[FLTModel | str | Path],
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        target: str | None = None,
        tags: TagRule = "auto",
        label: str | None = None,
        directory: str = ".",
        atoms: Atoms | None = None,
    ) -> None:
        if tags not in get_args(TagRule):
            known = ", ".join(get_args(TagRule))
            raise UsageError(f"There is no rule {tags!r} for tags; there are {known}.")
        self.others: dict[str, Any] = {}
        self.one_thread = OneThread()
        super().__init__(label=label, directory=directory, atoms=atoms)
        if isinstance(model, FLTModel | str | Path) or not isinstance(model, Sequence):
            sources = [model]  # what else it may be is refused when it is read
        else:
            sources = list(model)
        self.ensemble = Ensemble(sources, device, dtype)
        self.spec = energy_target(self.ensemble.targets, target)
        self.domain = Domain(self.ensemble.models)
        self.tags: TagRule = tags
        self.parameters["checkpoints"] = [checkpoint_words(s) for s in sources]
        self.parameters["target"] = self.spec and self.spec.name
        self.parameters["tags"] = tags
        self.units = {t.name: ase_unit(t.unit)[1] for t in self.ensemble.targets}
        self.implemented_properties = self._found_properties()
        self._graph: Data | None = None
        self._system: dict[str, np.ndarray] = {}
        self._asked: set[str] = set()
        self._remarks: list[str] = []
        for sentence in filter(None, (self.domain.silence(), self.ensemble.twins())):
            warn(sentence)

    @property
    def model(self) -> FLTModel:
        """The model; the first one of an ensemble."""
        return self.ensemble.models[0]

    def _found_properties(self) -> list[str]:
        names: list[str] = []
        if self.spec is not None:
            names = ["energy"]
            if self.spec.kind == "potential":
                names += ["free_energy", *_DERIVATIVES]
                if isinstance(self.model.readout(self.spec.name), AtomReadout):
                    names.append("energies")
        for spec in self.ensemble.targets:
            if isinstance(self.model.readout(spec.name), DipoleReadout):
                names.append("dipole")
            names.append(spec.name)
        names = list(dict.fromkeys(names))
        if len(self.ensemble.models) > 1:
            names += [f"{name}_std" for name in names if name != "free_energy"]
        return names

    @in_one_thread
    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property of `results` or `others`, evaluating what is not there.

        Args:
            name: One of `implemented_properties`.
            atoms: The structure; None: the last one.
            allow_calculation: Otherwise None is returned for what is not there.

        Raises:
            PropertyNotImplementedError: The checkpoint does not have it.
            UsageError: Another thread is at it.
        """
        if name not in self.implemented_properties:
            kind = "property" if self.spec is None else self.spec.kind
            reason = _WITHOUT_FORCES.get(kind, "has no")
            hint = ""
            if self.spec is None and "eV" in self.units.values():
                hint = "; target= chooses one that shall stand for the energy"
            named = ", ".join(spec.name for spec in self.ensemble.targets)
            raise PropertyNotImplementedError(
                f"This checkpoint ({named}) {reason} {name}{hint}."
            )
        changes = [] if atoms is None else self.check_state(atoms)
        if changes:
            self.reset()
        if name not in self.results | self.others:
            if not allow_calculation:
                return None
            self.calculate(self.atoms if atoms is None else atoms, [name], changes)
        value = (self.results | self.others)[name]
        return value.copy() if isinstance(value, np.ndarray) else value

    def reset(self) -> None:
        """Forget the structure and its results."""
        super().reset()
        self.others = {}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation.

        Tags count, and charge and spin in `info`, unlike with ASE's own calculators.
        """
        changes = list(super().check_state(atoms, tol))
        before = atoms if self.atoms is None else self.atoms
        if not np.array_equal(before.get_tags(), atoms.get_tags()):
            changes.append("tags")
        if stated(before) != stated(atoms):
            changes.append("info")
        return changes

    @in_one_thread
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate the models.

        What was asked for once is computed together with the energy from then on.

        Raises:
            InputError: The structure cannot be used (species, positions, tags, charge).
            UsageError: There is none, here or before; or another thread is at it.
        """
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None:
            raise UsageError(
                "The calculator has no structure yet; ask atoms (atoms.calc = "
                "calculator), or name them: get_property(name, atoms)."
            )
        wanted = {name.removesuffix("_std") for name in properties or ["energy"]}
        graph = self._graph_of(self.atoms, set(system_changes))
        potential = self.spec is not None and self.spec.kind == "potential"
        self._asked |= wanted
        asked = self._asked
        volume = bool(has_volume(graph))
        if "stress" in wanted and not volume:
            raise PropertyNotImplementedError(
                "Stress needs a periodic cell with a volume, which the structure has "
                "not."
            )
        energy = None if self.spec is None else self.spec.name
        request = Request(
            targets=[t.name for t in self.ensemble.targets if self._needs(t.name)],
            energy=energy,
            forces=potential and bool(asked.intersection(_DERIVATIVES)),
            stress=potential and volume and "stress" in asked,
            shares=potential and "energies" in asked,
            vectors="dipole" in asked,
        )
        large = len(graph.z) >= MIN_ATOMS or graph.pos.is_cuda
        found = self.ensemble.evaluate(graph, request, keep_pairs=large)
        for name, errors in found.failures.items():
            for array in (name, f"{name}_std"):
                found.arrays.pop(array, None)
            if name in wanted or ("dipole" in wanted and self._is_dipole(name)):
                raise next(iter(errors.values()))
        results = in_ase_units(found.arrays, self.ensemble.targets, self.spec)
        self.results = {k: v for k, v in results.items() if k in all_outputs}
        self.others = {k: v for k, v in results.items() if k not in all_outputs}
        for name, value in results.items():
            if not np.isfinite(value).all():
                self.results, self.others = {}, {}
                raise InputError(
                    f"The {name} of the structure is not a finite number; check its "
                    "positions and the checkpoint."
                )

    def _needs(self, name: str) -> bool:
        return name in self._asked or (
            "dipole" in self._asked and self._is_dipole(name)
        )

    def _is_dipole(self, name: str) -> bool:
        return isinstance(self.model.readout(name), DipoleReadout)

    def _graph_of(self, atoms: Atoms, changes: set[str]) -> Data:
        """Return the graph of the atoms, reusing what cannot have changed."""
        graph, self._graph = self._graph, None  # gone, should anything below fail
        where = "The structure"
        if graph is None or changes - {"positions", "cell"}:
            self._system, _ = admit(atoms, self.domain, self.tags, where)
            graph = system_graph(self._system).to(self.ensemble.device)
        else:  # tags are what they were, all else may be wrong now
            self._system = atoms_arrays(atoms, self._system["tags"], where)
            for name in ("pos", "cell"):
                moved = torch.from_numpy(self._system[name])
                graph[name] = moved.to(graph[name].device)
        remarks = self.domain.remarks(self._system)
        for remark in remarks:
            if remark not in self._remarks:  # of the structure before
                warn(f"{where} {atoms.get_chemical_formula()} has {remark}.")
        self._remarks = remarks
        self._graph = graph
        return graph
