"""Variants of our model: options of `molflt.FLTEncoder` by name.

`BASE` is what all variants have unless they say otherwise; "FLT" is the model that is
compared with the peers.
"""

from typing import Any

Options = dict[str, Any]

BASE: Options = {
    "width": 128,
    "num_layers": 2,
    "num_near_heads": 8,
    "num_far_heads": 0,
    "density_elements": "HCNO",  # of all molecules here; QM9 as published has F, too
}

# What is changed, by part of the model; the part is a heading of the table.
ABLATIONS: dict[str, dict[str, Options]] = {
    "form": {
        "FLT additive": {"form": "additive"},
        "FLT additive favor": {"form": "additive", "estimator": "favor"},
    },
    "spectrum (additive)": {
        "FLT additive free": {"form": "additive", "spectrum": "free"},
    },
    "radial components": {
        "FLT 8 components": {"near_components": 8},
        "FLT 16 components": {"near_components": 16},
        "FLT 64 components": {"near_components": 64},
    },
    "near band": {
        "FLT band 1": {"near_band": 1.0},
        "FLT band 1.5": {"near_band": 1.5},
    },
    "heads (near + far)": {
        "FLT 6+2": {"num_near_heads": 6, "num_far_heads": 2},
        "FLT 4+4": {"num_near_heads": 4, "num_far_heads": 4},
        "FLT 0+8": {"num_near_heads": 0, "num_far_heads": 8},
        "FLT 4+0": {"num_near_heads": 4},
        "FLT 16+0": {
            "num_near_heads": 16,
            "head_width": 8,
            "vector_head_width": 4,
        },
    },
    "directions": {
        "FLT no vectors": {"vector_width": 0},
        "FLT matrices": {"matrix_head_width": 4},
    },
    "first features and depth": {
        "FLT 3 layers": {"num_layers": 3},
        "FLT 4 layers": {"num_layers": 4},
        "FLT no density": {"density_elements": "", "num_layers": 4},
    },
    "near cutoff": {
        "FLT cutoff 3": {"cutoff": 3.0},
        "FLT cutoff 10": {"cutoff": 10.0},
        "FLT 6+2 cutoff 3": {"num_near_heads": 6, "num_far_heads": 2, "cutoff": 3.0},
    },
}

SURFACE: Options = {
    "width": 96,
    "num_layers": 3,
    "num_near_heads": 16,
    "head_width": 8,
    "num_far_heads": 0,
    "vector_width": 0,
    "skip_subsurface": True,
}
"""For adsorption energies of EMT, which sums functions of distances: no vectors."""

DISPLACEMENTS: Options = SURFACE | {"vector_width": 32, "vector_head_width": 4}
"""The same with vectors, for displacements as an auxiliary task (`moves.py`)."""

FLT: dict[str, Options] = {
    "FLT": BASE,
    "FLT HCO": BASE | {"density_elements": "HCO"},
    "FLT HCO smooth": BASE | {"density_elements": "HCO", "near_band": 1.0},
    "FLT surface": SURFACE,
    "FLT displacements": DISPLACEMENTS,
    "FLT no interpolation": DISPLACEMENTS,
    "FLT interaction": DISPLACEMENTS,
    **{
        name: BASE | options
        for variants in ABLATIONS.values()
        for name, options in variants.items()
    },
}
