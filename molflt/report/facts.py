"""What a checkpoint says of itself: names and values, as text."""

import hashlib
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from molflt.model import FLTModel
from molflt.pretrained import checkpoint_path

Facts = dict[str, dict[str, str]]
"""Values by name, by heading."""


def checkpoint_facts(model: FLTModel, checkpoint: str | Path, version: str) -> Facts:
    """Return what is known of a checkpoint; what is empty is left out.

    Args:
        model: The model it holds.
        checkpoint: The file.
        version: Version of molflt that wrote it.
    """
    path = checkpoint_path(checkpoint)
    content = path.read_bytes()
    facts = {
        "Checkpoint": {
            "name": path.name,
            "SHA-256": hashlib.sha256(content).hexdigest(),
            "size": f"{len(content) / 1e6:.2f} MB",
            "written by": f"molflt {version}",
            "parameters": f"{model.num_parameters:,}",
        }
    }
    for spec in model.targets:
        facts[f"Target {spec.name}"] = {
            "unit": spec.unit,
            "kind": spec.kind,
            "zero": spec.reference,
            "readout": _readout(spec.readout, spec.extensive, spec.interaction),
        }
        seen = model.statistics.get(spec.name, {})
        facts[f"Training set of {spec.name}"] = {
            name: _text(name, value)
            for name, value in seen.items()
            if name not in ("target", "unit")
        }
    facts["Origin"] = {name: _text(name, v) for name, v in flat(model.origin).items()}
    facts["Encoder"] = {
        name: _text(name, v) for name, v in model.encoder.config.items()
    }
    kept = {
        heading: {name: text for name, text in values.items() if text}
        for heading, values in facts.items()
    }
    return {heading: values for heading, values in kept.items() if values}


def _readout(name: str, extensive: bool, interaction: bool) -> str:
    kind = "sum" if extensive else "mean"
    between = ", between adsorbate and slab" if interaction else ""
    return f"{name}, {kind}{between}"


def _text(name: str, value: Any) -> str:
    if name == "elements":
        return ", ".join(chemical_symbols[int(z)] for z in value)
    if name == "pbc_seen":
        return ", ".join(" ".join("FT"[bool(flag)] for flag in each) for each in value)
    if isinstance(value, dict):
        return ", ".join(
            f"{chemical_symbols[int(z)]} {float(number):.6g}"
            for z, number in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def flat(origin: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, with names such as ``training, steps``."""
    out: dict[str, Any] = {}
    for name, value in origin.items():
        if isinstance(value, dict):
            out |= flat(value, f"{before}{name}, ")
        else:
            out[f"{before}{name}"] = value
    return out
