"""One pass through one or several models: targets, forces, stress, shares of atoms."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from molflt.checkpoint import load
from molflt.device import choose_device
from molflt.errors import UsageError
from molflt.features import Features, graph_of
from molflt.gradients import deformable
from molflt.graph.index import graph_index
from molflt.graph.skin import SkinList
from molflt.model import FLTModel, sites_of
from molflt.nn.gradients import Deformation
from molflt.nn.readout.dipole import DipoleReadout
from molflt.targets import TargetSpec

Source = FLTModel | str | Path


@dataclass(frozen=True)
class Request:
    """What shall be computed besides the features.

    Args:
        targets: Names of targets.
        energy: Name of the potential energy that `forces`, `stress` and `shares` are
            of; it is computed too.
        forces: Minus its gradient (n, 3).
        stress: (1/V) dE/d(strain) (g, 3, 3).
        shares: Its atoms' shares (n,), named ``energies``.
        vectors: Also the vectors (g, 3) of dipole moments, named ``{target}_vector``.
    """

    targets: Collection[str]
    energy: str | None = None
    forces: bool = False
    stress: bool = False
    shares: bool = False
    vectors: bool = False


@dataclass
class Evaluation:
    """Arrays of a batch, float64 in the targets' units, and targets that failed.

    Args:
        arrays: Values by name, NaN where a target failed; with several models also
            ``{name}_std``.
        failures: What went wrong, by target and number of the structure.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    failures: dict[str, dict[int, Exception]] = field(default_factory=dict)


class Ensemble:
    r"""One or several models of the same targets; results are means over them.

    With k > 1 models every result x has a standard deviation beside it,

        x_std = sqrt(sum_m (x_m - mean x)^2 / (k - 1)),

    for forces and stress component by component. Forces are the gradient of the mean
    energy, as the mean of gradients is.

    Args:
        sources: Models, which are copied, or paths of checkpoints.
        device: Where they are evaluated; None: where they are; "auto": a GPU if any.
        dtype: Precision of the networks, `torch.float64` or ``"float64"``; None: as
            they are. Offsets stay float64.

    Raises:
        InputError: A file is not a checkpoint.
        UsageError: There is no model, targets differ, or there is no such device or
            precision.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        if not sources:
            raise UsageError("There is no model to evaluate.")
        place = None if device is None else choose_device(device)
        precision = None if dtype is None else _precision(dtype)
        self.models = [_own(source, place, precision) for source in sources]
        first = self.models[0]
        for source, model in zip(sources, self.models, strict=True):
            if _meaning(model) != _meaning(first):
                raise UsageError(
                    f"Models of an ensemble need the same targets; "
                    f"{_called(source, model)} differs from "
                    f"{_called(sources[0], first)}."
                )
        self._names = [_name(source) for source in sources]
        self._skins = [SkinList(model.encoder.cutoff) for model in self.models]

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """What the models predict."""
        return self.models[0].targets

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return next(self.models[0].parameters()).device

    def twins(self) -> str | None:
        """Return a sentence if two models are the same one, which deviations hide."""
        states = [model.state_dict() for model in self.models]
        for one, two in combinations(range(len(states)), 2):
            first, second = states[one], states[two]
            if first.keys() == second.keys() and all(
                torch.equal(value, second[name]) for name, value in first.items()
            ):
                return (
                    f"{self._names[one]} and {self._names[two]} have the same weights, "
                    "so that standard deviations are too small; train them with "
                    "different --seed_everything."
                )
        return None

    def evaluate(
        self, data: Data, request: Request, *, keep_pairs: bool = False
    ) -> Evaluation:
        """Return what was asked for, of a graph or batch of graphs.

        Args:
            data: The structures, on the models' device.
            request: What to compute.
            keep_pairs: Keep lists of neighbours for the next call, which is about the
                same atoms a little displaced.

        Raises:
            Exception: Whatever features, the energy asked for and its derivatives
                raise; what other targets raise is among the `failures`.
        """
        found = [
            evaluate(model, data, request, skin if keep_pairs else None)
            for model, skin in zip(self.models, self._skins, strict=True)
        ]
        return found[0] if len(found) == 1 else _combined(found)


def evaluate(
    model: FLTModel, data: Data, request: Request, skin: SkinList | None = None
) -> Evaluation:
    """Evaluate one model; see `Ensemble.evaluate`."""
    if not (request.forces or request.stress):
        with torch.no_grad():
            return _pass(model, data, request, skin, None)
    with torch.inference_mode(False), torch.enable_grad():
        moved, deformation = deformable(data, stress=request.stress)
        return _pass(model, moved, request, skin, deformation)


def _pass(
    model: FLTModel,
    data: Data,
    request: Request,
    skin: SkinList | None,
    deformation: Deformation | None,
) -> Evaluation:
    features = model.features(data, pairs=skin)
    out = Evaluation()

    def value(name: str) -> Tensor:
        return model.physical(name, model.read(features, name=name)[name], data)

    if request.energy is not None:
        energy = value(request.energy)
        out.arrays[request.energy] = _plain(energy)
        if request.shares:
            share = model.shares(request.energy, features, data)
            out.arrays["energies"] = _plain(share)
        if deformation is not None:
            forces, stress = deformation.derivatives(energy)
            out.arrays["forces"] = _plain(forces)
            if stress is not None:
                out.arrays["stress"] = _plain(stress)
    with torch.no_grad():
        for name in request.targets:
            if name in out.arrays:
                continue
            try:
                out.arrays[name] = _plain(value(name))
                readout = model.readout(name)
                if request.vectors and isinstance(readout, DipoleReadout):
                    x, vec, seen = features[:3]
                    vector = readout.vector(x, vec, sites_of(seen)).double()
                    out.arrays[f"{name}_vector"] = _plain(vector * readout.std)
            except Exception:  # of this target; the others are not to blame
                found = _one_by_one(model, name, features, data)
                out.arrays[name], out.failures[name] = found
    return out


def _one_by_one(
    model: FLTModel, name: str, features: Features, data: Data
) -> tuple[np.ndarray, dict[int, Exception]]:
    """Read a target of each structure alone, as one of them makes all fail."""
    num_graphs = graph_index(data)[1]
    values = np.full(num_graphs, np.nan)
    failures: dict[int, Exception] = {}
    for index in range(num_graphs):
        try:
            normalised = model.read(features.of_graph(index), name=name)[name]
            one = graph_of(data, index)
            values[index] = model.physical(name, normalised, one).item()
        except Exception as error:
            failures[index] = error
    return values, failures


def _combined(found: Sequence[Evaluation]) -> Evaluation:
    """Return means and standard deviations of several models' results."""
    out = Evaluation()
    for one in found:
        for name, errors in one.failures.items():
            out.failures.setdefault(name, {}).update(errors)
    for name in found[0].arrays:
        if not all(name in one.arrays for one in found):
            continue
        stack = np.stack([one.arrays[name] for one in found])
        if name.endswith("_vector"):  # known up to its sign, see `FLTModel.dipole`
            same = np.einsum("mgx,gx->mg", stack, stack[0]) >= 0
            stack = stack * np.where(same, 1.0, -1.0)[:, :, None]
        out.arrays[name] = stack.mean(axis=0)
        out.arrays[f"{name}_std"] = stack.std(axis=0, ddof=1)
    return out


def _precision(dtype: torch.dtype | str) -> torch.dtype:
    known = {"float32": torch.float32, "float64": torch.float64}
    for name, value in known.items():
        if dtype in (name, value):
            return value
    raise UsageError(f"dtype must be float32 or float64, not {dtype}.")


@torch.inference_mode(False)  # weights that are made in it have no forces, ever
def _own(
    source: Source, device: torch.device | None, dtype: torch.dtype | None
) -> FLTModel:
    """Return a model that nobody else uses, ready to be evaluated."""
    model = copy.deepcopy(source) if isinstance(source, FLTModel) else load(source)
    model.eval().requires_grad_(False)
    model.to(device)
    if dtype is not None:  # the offsets stay float64
        model.encoder.to(dtype)
        model.readouts.to(dtype)
    return model


def _meaning(model: FLTModel) -> list[tuple[str, ...]]:
    return [(t.name, t.unit, t.kind, t.reference) for t in model.targets]


def _name(source: Source) -> str:
    return "a model" if isinstance(source, FLTModel) else str(source)


def _called(source: Source, model: FLTModel) -> str:
    name = _name(source)
    words = (" ".join(filter(None, target)) for target in _meaning(model))
    return f"{name} ({'; '.join(words)})"


def _plain(value: Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()
