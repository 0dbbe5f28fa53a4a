"""Units in names of metrics, which have letters, digits and _ alone, and back."""

import re


def unit_in_name(unit: str) -> str:
    """Return `unit` as it appears in metric names: ``cal/mol/K`` as cal_per_mol_K."""
    numerator, *denominator = unit.split("/")
    words = [numerator, *(["per", *denominator] if denominator else [])]
    return re.sub(r"[^0-9A-Za-z]+", "_", "_".join(words)).strip("_")


def unit_of_name(name: str) -> str:
    """Undo `unit_in_name` as far as units are usual ones: ``a0_3`` is a0^3."""
    above, *below = re.sub(r"_(?=\d)", "^", name).split("_per_")
    return "/".join([above, *"".join(below).split("_")]) if below else above
