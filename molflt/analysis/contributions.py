"""The share of each atom in a prediction, and the forces on it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from molflt.analysis.attention import one_graph, one_model
from molflt.errors import UsageError
from molflt.gradients import has_forces
from molflt.model import FLTModel
from molflt.targets import TargetSpec


@dataclass(frozen=True)
class Contributions:
    """A prediction, what each atom adds to it, and the forces.

    Attributes:
        target: Name of the target.
        unit: Its unit.
        value: The prediction.
        terms: Share of each atom (n,), references included; they sum to `value`.
        learned: The same without references and mean (n,).
        forces: Forces (n, 3) [eV/Å], or `unit` per Å; None where the target is no
            potential energy of this geometry.
    """

    target: str
    unit: str
    value: float
    terms: NDArray[np.float64]
    learned: NDArray[np.float64]
    forces: NDArray[np.float64] | None


def energy_contributions(
    model: FLTModel, graph: Data, target: str | None = None, forces: bool = True
) -> Contributions:
    """Return a prediction with the atoms' shares and, if it has any, its forces.

    Args:
        model: The model.
        graph: One structure.
        target: Name of the target; None: the only one.
        forces: Whether forces are wanted, which need the memory of a training step.

    Raises:
        UsageError: As `atom_contributions`.
    """
    spec = one_target(model, target)
    graph = one_graph(model, graph)
    terms = atom_contributions(model, graph, spec.name)
    learned = atom_contributions(model, graph, spec.name, references=False)
    value, pushed = predicted(model, graph, spec.name, forces and has_forces(spec))
    arrays = None if pushed is None else pushed.cpu().numpy()
    return Contributions(spec.name, spec.unit, value, terms, learned, arrays)


def predicted(
    model: FLTModel, graph: Data, name: str, forces: bool
) -> tuple[float, torch.Tensor | None]:
    """Return a target of one structure and, if wanted, its forces (n, 3), float64."""
    if forces:
        both = model.energy_and_forces(graph, name)
        return float(both.energy[0]), both.forces.double()
    with torch.no_grad():
        normalised = model.normalised(graph, name=name)[name]
        return float(model.physical(name, normalised, graph)[0]), None


@torch.no_grad()
def atom_contributions(
    model: FLTModel, graph: Data, target: str | None = None, references: bool = True
) -> NDArray[np.float64]:
    r"""Return per-atom terms (n,) that sum to the prediction, in the target's unit.

        e_i = std * out_i + reference[z_i] + mean / n           (extensive targets)
        e_i = (std * out_i + mean) / n                          (intensive targets)

    How a model shares an energy among atoms is its own choice: only the sum was
    trained. Compare the same atom in two structures rather than two atoms in one.

    Args:
        model: The model.
        graph: One structure.
        target: Name of the target; None: the only one.
        references: Whether the atoms' references and the mean are included. Without
            them, the terms sum to what attention adds to a per-element sum.

    Raises:
        UsageError: A batch, `target` is not one of the model's, or it is no sum over
            atoms (a dipole moment).
    """
    name = one_target(model, target).name
    graph = one_graph(model, graph)
    terms = model.contributions(graph, name=name, references=references)[name]
    return np.asarray(terms.cpu().numpy())


def one_target(model: FLTModel, target: str | None) -> TargetSpec:
    """Return target `target`; None: the only one.

    Raises:
        UsageError: No model, no such target, or several and None is asked for.
    """
    names = [spec.name for spec in one_model(model).targets]
    if target is None and len(names) == 1:
        target = names[0]
    if target is None:
        raise UsageError(
            f"The model has several targets; choose with target one of "
            f"{', '.join(names)}."
        )
    if target not in names:
        raise UsageError(
            f"target must be one of {', '.join(names)}, received {target!r}."
        )
    return model.target_spec(target)
