"""Results of models as a calculator of ASE has them: in its units, under its names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from molflt.ase_units import ase_unit
from molflt.targets import TargetSpec


def in_ase_units(
    arrays: Mapping[str, np.ndarray],
    targets: Sequence[TargetSpec],
    energy: TargetSpec | None,
) -> dict[str, Any]:
    """Return results by the names that `FLTCalculator` lists.

    Args:
        arrays: What was evaluated, of one structure; with ``_std`` at the end: standard
            deviations over models.
        targets: The targets of the models.
        energy: The one that stands for the energy; None: none does.
    """
    results: dict[str, Any] = {}
    scale = 1.0 if energy is None else ase_unit(energy.unit)[0]
    for end in ("", "_std"):
        for name in ("forces", "energies"):
            if f"{name}{end}" in arrays:
                results[f"{name}{end}"] = scale * arrays[f"{name}{end}"]
        if f"stress{end}" in arrays:
            matrix = scale * arrays[f"stress{end}"][0]
            results[f"stress{end}"] = full_3x3_to_voigt_6_stress(matrix)
        for spec in targets:
            factor = ase_unit(spec.unit)[0]
            if f"{spec.name}{end}" in arrays:
                value = factor * float(arrays[f"{spec.name}{end}"][0])
                results[f"{spec.name}{end}"] = value
                if energy is not None and spec.name == energy.name:
                    results[f"energy{end}"] = value
            if f"{spec.name}_vector{end}" in arrays:
                vector = factor * arrays[f"{spec.name}_vector{end}"][0]
                results[f"dipole{end}"] = vector
    if energy is not None and energy.kind == "potential":
        results["free_energy"] = results["energy"]
    return results
