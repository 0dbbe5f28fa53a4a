"""Which of a data set's targets are learned, and by what readout."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from molflt.errors import UsageError
from molflt.targets import TargetSpec

MEANING = ("kind", "unit", "extensive")
"""Fields of a target without which a label and a prediction are not comparable."""


def refuse_other_meaning(
    known: Sequence[TargetSpec], spec: TargetSpec, what: str
) -> None:
    """Refuse a target of the data that means something else in a checkpoint.

    Args:
        known: Targets of the checkpoint; those of other names do not matter.
        spec: The target of the data.
        what: What cannot be done, such as "a.ckpt cannot be evaluated on these data".

    Raises:
        UsageError: Their kinds, units or extents differ.
    """
    for old in known:
        for field in MEANING if old.name == spec.name else ():
            ours, theirs = getattr(spec, field), getattr(old, field)
            if ours != theirs:
                raise UsageError(
                    f"{what}: {field} of {spec.name!r} is {theirs} in the checkpoint "
                    f"and {ours} in the data."
                )


def chosen_targets(
    known: Sequence[TargetSpec],
    names: Sequence[str] | None,
    *,
    tag_weighted_readout: bool = False,
    interaction_energy: bool = False,
) -> list[TargetSpec]:
    """Return the targets to be learned.

    Args:
        known: Targets of the data.
        names: Names of those wanted, in this order; None: all.
        tag_weighted_readout: Whether sums and means over atoms get a weight per tag.
        interaction_energy: Whether they count from adsorbate and slab by themselves.

    Raises:
        UsageError: A name is unknown, or no target is a sum or mean over atoms.
    """
    by_name = {spec.name: spec for spec in known}
    wanted = list(by_name) if names is None else list(names)
    if missing := [name for name in wanted if name not in by_name]:
        raise UsageError(
            f"Unknown target {', '.join(missing)} in model.targets; "
            f"this data set has {', '.join(by_name)}."
        )
    targets = [by_name[name] for name in wanted]
    if interaction_energy:
        if tag_weighted_readout:
            raise UsageError(
                "model.interaction_energy sums over the adsorbate alone; set "
                "tag_weighted_readout to false."
            )
        return [_between_parts(spec) for spec in targets]
    if not tag_weighted_readout:
        return targets
    if not any(spec.readout == "atoms" for spec in targets):
        raise UsageError(
            "model.tag_weighted_readout needs a target that is a sum or mean over "
            f"atoms; {', '.join(wanted)} is none."
        )
    return [
        replace(spec, readout="tags") if spec.readout == "atoms" else spec
        for spec in targets
    ]


def check_weights(weights: Mapping[str, float], names: Sequence[str] | None) -> None:
    """Refuse weights of losses that do not fit the targets.

    Args:
        weights: Weights by target; those that are not there are 1.
        names: Targets to be learned; None: not known yet, values alone are looked at.

    Raises:
        UsageError: A weight is negative or not finite, that of no target, or all are 0.
    """
    for name, value in weights.items():
        if not (value >= 0 and math.isfinite(value)):
            raise UsageError(
                "model.target_weights must be finite and not negative, not "
                f"{value:g} for {name}."
            )
    if names is None:
        return
    if unknown := [name for name in weights if name not in names]:
        raise UsageError(
            f"Unknown target {', '.join(unknown)} in model.target_weights; learned "
            f"{'is' if len(names) == 1 else 'are'} {', '.join(names)}."
        )
    if not any(weights.get(name, 1.0) for name in names):
        raise UsageError(
            f"model.target_weights must be above 0 for one of {', '.join(names)}."
        )


def _between_parts(spec: TargetSpec) -> TargetSpec:
    """Return the target as an interaction of adsorbate and slab.

    Raises:
        UsageError: The target is no sum over atoms.
    """
    try:
        return replace(spec, interaction=True)
    except ValueError as error:
        raise UsageError(f"model.interaction_energy: {error}.") from error
