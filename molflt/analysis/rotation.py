"""What turning a structure does to a prediction that should not depend on it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import Data

from molflt.analysis.attention import one_graph
from molflt.analysis.contributions import one_target, predicted
from molflt.errors import UsageError
from molflt.gradients import has_forces
from molflt.model import FLTModel
from molflt.testing import rotated


@dataclass(frozen=True)
class RotationErrors:
    """Differences between predictions for a structure and for itself turned.

    Radial spectra leave rounding; free, box and triangle spectra depend on direction
    by design.

    Attributes:
        target: Name of the target.
        unit: Its unit.
        value: Prediction for the structure as it is.
        errors: Prediction turned less prediction as it is (k,), in `unit`.
        reflected: Whether the structure was mirrored too (k,).
        forces: Largest component of F(turned) less F, turned (k,) [`unit`/Å]; None
            where the target has no forces.
    """

    target: str
    unit: str
    value: float
    errors: NDArray[np.float64]
    reflected: NDArray[np.bool_]
    forces: NDArray[np.float64] | None


def rotation_errors(
    model: FLTModel,
    graph: Data,
    target: str | None = None,
    num_rotations: int = 16,
    seed: int = 0,
) -> RotationErrors:
    """Turn a structure at random, every second time mirrored too, and predict again.

    Args:
        model: The model.
        graph: One structure; its cell turns with it.
        target: Name of the target; None: the only one.
        num_rotations: Number k of random rotations, at least 1.
        seed: Seed of the first.

    Raises:
        UsageError: A batch, no such target, or no rotations.
    """
    if num_rotations < 1:
        raise UsageError(f"num_rotations must be at least 1, not {num_rotations}.")
    spec = one_target(model, target)
    graph = one_graph(model, graph)
    value, force = predicted(model, graph, spec.name, has_forces(spec))
    reflected = np.arange(num_rotations) % 2 == 1
    errors = np.zeros(num_rotations)
    slips = np.zeros(num_rotations)
    for k, mirror in enumerate(reflected):
        turned = rotated(graph, seed + k, reflect=bool(mirror))
        other, pushed = predicted(model, turned, spec.name, force is not None)
        errors[k] = other - value
        if force is not None:
            # Forces turn as positions do.
            expected = rotated(Data(pos=force), seed + k, reflect=bool(mirror)).pos
            slips[k] = float((pushed - expected).abs().max())
    forces = None if force is None else slips
    return RotationErrors(spec.name, spec.unit, value, errors, reflected, forces)
