"""The models of adsorption energies (EMT), by family and by what is special to them."""

ADSORPTION = {
    "FLT": ("FLT no density", "FLT surface", "FLT displacements", "FLT interaction"),
    "PaiNN": (
        "PaiNN Bessel",
        "PaiNN Bessel surface",
        "PaiNN Bessel displacements",
        "PaiNN Bessel interaction",
    ),
    "SchNet": ("SchNet", "SchNet surface"),
}
"""On all atoms; without sub-surface ones; these with displacements as an auxiliary
task; these with an energy that counts from adsorbate and slab by themselves.

SchNet has no vectors to predict displacements from; the Equivariant Transformer's
package has no pairs across images.
"""

INTERACTION = ("FLT no interpolation", "FLT interaction", "PaiNN Bessel interaction")
DISPLACEMENTS = ("FLT displacements", "PaiNN Bessel displacements", *INTERACTION)

SEEDED = (*DISPLACEMENTS, "SchNet surface")
"""Trained from three seeds, which differ much on unseen adsorbates."""

EMT_TRAIN = 4_000


def augmentation_of(model: str) -> dict[str, float]:
    """Return how positions move in training, see `PositionAugmentation`.

    Models of the interaction gain from interpolation; "FLT no interpolation" shows how
    much. SchNet, and PaiNN with displacements, lose by it.
    """
    along = model in INTERACTION and model != "FLT no interpolation"
    return {"noise_A": 0.05, "interpolation": float(along)}
