"""Which options of an encoder are none, or contradict each other."""

import math
from collections.abc import Mapping
from typing import Any

COUNTS = {
    **dict.fromkeys(("width", "num_layers", "near_components", "far_components"), 1),
    **dict.fromkeys(("head_width", "far_head_width", "density_components"), 1),
    **dict.fromkeys(("num_frequencies", "num_features"), 1),
    **dict.fromkeys(("num_near_heads", "num_far_heads", "vector_width"), 0),
    **dict.fromkeys(("vector_head_width", "matrix_head_width", "seed"), 0),
}
"""Options that count something, with the least there can be."""

LONGEST = 1e4  # Å; farther than any search for neighbours comes to an end

OF_ADDITIVE = ("estimator", "spectrum", "num_frequencies", "num_features", "sampling")
"""Options that the masked form has no use for."""


def effective(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those that have no effect: what checkpoints hold besides.

    These were not refused by every version, and defaults may change.
    """
    unused = OF_ADDITIVE if config.get("form", "masked") == "masked" else ()
    return {name: value for name, value in config.items() if name not in unused}


def check_options(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse sizes out of range, and options of a form that was not chosen.

    Args:
        config: Options of `FLTEncoder` by name.
        defaults: Their default values.

    Raises:
        ValueError: Names the option.
    """
    for name, least in COUNTS.items():
        if config[name] < least:
            raise ValueError(
                f"{name} must be at least {least}, received {config[name]}"
            )
    if not 0 < config["cutoff"] <= LONGEST:
        raise ValueError(
            f"cutoff must be above 0 and at most {LONGEST:g} Å, "
            f"received {config['cutoff']:g}"
        )
    for name in ("expansion", "density_cutoff"):
        if not 0 < config[name] < math.inf:
            raise ValueError(f"{name} must be above 0, received {config[name]:g}")
    if config["form"] != "masked":
        return
    far = config["num_far_heads"] and not config["matrix_head_width"]
    if config["vector_width"] and not (config["vector_head_width"] or far):
        raise ValueError(
            "vector_head_width must be at least 1 with vector_width "
            f"{config['vector_width']}; set that to 0 for a model without vectors"
        )
    for name in OF_ADDITIVE:
        if config[name] != defaults[name]:
            raise ValueError(
                f"{name}: {config[name]} is an option of form 'additive'; set form to "
                "additive, or leave it out."
            )
