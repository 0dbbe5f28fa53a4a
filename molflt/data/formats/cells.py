"""Cells of a table and properties of an SDF: what of them goes to `info`."""

from collections.abc import Mapping

from ase.io.extxyz import SPECIAL_3_3_KEYS

from molflt.data.molecule import ARRAY_LABELS

_EMPTY = {"", "na", "n/a", "nan", "none", "null", "-", "?"}

# Names that would be taken for something else, by readers of extxyz or of labels that
# are no numbers.
_RESERVED = {
    *("", "properties", "pbc", "sid", "smiles", "energies", "stresses"),
    *(name.lower() for name in SPECIAL_3_3_KEYS),
    *ARRAY_LABELS,
}


def info_of(cells: Mapping[str, str]) -> dict[str, float | str]:
    """Return the cells that say something: numbers, and other text as it is.

    Text is kept so that a label that is no number is told and not missing, a charge or
    multiplicity so that models without them refuse it. Left out are cells without a
    value (``NA``, ``NaN``, ``-``), of several lines, and those whose name has another
    meaning.

    Args:
        cells: Text by the name of its column or property.
    """
    found: dict[str, float | str] = {}
    for name, cell in cells.items():
        text = cell.strip()
        if name.lower() in _RESERVED or text.lower() in _EMPTY or "\n" in text:
            continue
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = text
    return found
