"""Which of a data set's targets are learned, and by what readout."""

from collections.abc import Sequence
from dataclasses import replace

from molflt.errors import UsageError
from molflt.targets import TargetSpec


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


def _between_parts(spec: TargetSpec) -> TargetSpec:
    """Return the target as an interaction of adsorbate and slab.

    Raises:
        UsageError: The target is no sum over atoms.
    """
    try:
        return replace(spec, interaction=True)
    except ValueError as error:
        raise UsageError(f"model.interaction_energy: {error}.") from error
