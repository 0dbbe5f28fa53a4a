"""What a predicted quantity is: its name, unit, meaning, reference and readout."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

ENERGY_THRESHOLD = 0.02
"""Threshold of "energy within threshold" [eV]; the Open Catalyst leaderboard's."""

TargetKind = Literal["potential", "relaxed", "property"]
ReadoutName = Literal[
    "atoms", "tags", "attention", "dipole", "extent", "polarisability"
]

EXTENSIVE: dict[ReadoutName, bool] = {
    "attention": False,
    "dipole": False,
    "extent": True,
    "polarisability": True,
}
"""What `extensive` is for the readouts that leave no choice."""


@dataclass(frozen=True)
class TargetSpec:
    """One predicted quantity.

    Args:
        name: Field of the graph that holds the label, and key of the predictions.
        unit: Physical unit of label and prediction, e.g. ``"eV"``.
        kind: ``"potential"``: potential energy of *this* geometry (forces are its
            negative gradient); ``"relaxed"``: energy after relaxation, predicted from
            the initial structure (it has no forces); ``"property"``: anything else.
        reference: What zero means, e.g. ``"E(slab+ads) - E(slab) - E(ads)"``.
        extensive: Summed over atoms (a supercell of k cells has k times the value)
            rather than averaged.
        element_reference: Published energy of a free atom by atomic number, in `unit`,
            from which the label is counted; for the record, as training fits its own.
        readout: How features of atoms become the quantity. ``"atoms"``: the sum
            (`extensive`) or mean of a term per atom; ``"tags"``: the same with a
            learned weight per tag; ``"attention"``: a mean with learned weights;
            ``"dipole"``: length of the dipole vector; ``"extent"``: electronic spatial
            extent <R^2>; ``"polarisability"``: isotropic. Formulas:
            `molflt.nn.readout.base` and its neighbours.
        interaction: The sum over the atoms of the adsorbate (tag 2) of their terms in
            the system less those in the adsorbate by itself: for energies that count
            from adsorbate and slab, as E(slab+ads) - E(slab) - E(ads).

    Raises:
        ValueError: An unknown readout, or one that contradicts `extensive` or
            `interaction`.
    """

    name: str
    unit: str = "eV"
    kind: TargetKind = "potential"
    reference: str = ""
    extensive: bool = True
    element_reference: dict[int, float] | None = None
    readout: ReadoutName = "atoms"
    interaction: bool = False

    def __post_init__(self) -> None:
        if self.readout not in get_args(ReadoutName):
            raise ValueError(
                f"target {self.name!r} has readout {self.readout!r}; there are "
                f"{', '.join(get_args(ReadoutName))}"
            )
        if self.extensive != EXTENSIVE.get(self.readout, self.extensive):
            raise ValueError(
                f"target {self.name!r} has readout {self.readout!r}, which needs "
                f"extensive={EXTENSIVE[self.readout]}"
            )

        if self.interaction and not (self.extensive and self.readout == "atoms"):
            raise ValueError(
                f"target {self.name!r} is no plain sum over atoms, so it cannot be an "
                "interaction energy"
            )

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-like types."""
        return asdict(self)

    @classmethod
    def from_plain(cls, fields: dict[str, Any]) -> "TargetSpec":
        """Rebuild from `plain()`; keys of `element_reference` may be strings (JSON)."""
        fields = dict(fields)
        reference = fields.get("element_reference")
        if reference is not None:
            fields["element_reference"] = {
                int(z): float(v) for z, v in reference.items()
            }
        return cls(**fields)
