"""Which runs of energies and forces of one molecule there are."""

MOLECULES = ("ethanol", "aspirin")
FORCE_MODELS = {
    "FLT": ("FLT", "FLT HCO", "FLT HCO smooth"),
    "PaiNN": ("PaiNN Bessel",),
    "ET": ("ET",),
}
"""Models of energies and forces by family."""
RATES = ((10, 1e-3), (10, 3e-3))
"""Batch size and peak learning rate for energies and forces of 950 geometries."""
TRAIN = 950
SEEDED_FORCES = {
    "ethanol": (
        ("FLT HCO", RATES[0]),
        ("FLT HCO smooth", RATES[0]),
        ("ET", RATES[1]),
    )
}
"""What is too close to tell apart by one seed, with the points of their grids."""
