"""Tags of users' slabs: one meaning (OC20's) for the two conventions in use.

========== ========================================================================
convention meaning of `atoms.get_tags()`
========== ========================================================================
OC20       0 sub-surface, 1 surface, 2 adsorbate
ase.build  0 adsorbate, 1 top layer, 2, 3, ... deeper layers
========== ========================================================================

Inside molflt tags are OC20's, and -1 where an atom has none. The rule ``"auto"``:

1. all tags 0 (ASE's default, nothing was set): no tags;
2. a tag below 0: an error;
3. a tag above 2: ase.build, if the layers 1, 2, ... have no gap, each deeper layer
   lies lower and the adsorbate lies above layer 1; else an error;
4. tags out of {0, 1, 2} are told apart by height along the surface normal (see
   `heights`): OC20 where heights rise with the tag (2 above 1 above 0), ase.build where
   they fall; neither is an error. Tags all 1 mean surface in both conventions, tags
   all 2 are OC20's isolated adsorbate.

Heights are means over the atoms of one tag; less than `MIN_STEP` apart is undecided.
"""

from typing import Literal

import numpy as np
from ase import Atoms

from molflt.errors import InputError, UsageError, prefix_of

TagRule = Literal["oc20", "ase", "auto", "none"]

MIN_STEP = 0.3  # Å; layers of metals are 1 to 2.5 Å apart, OC20's tags at least as much

_MEANING = {
    "none": "no tags",
    "oc20": "OC20 tags (0 sub-surface, 1 surface, 2 adsorbate)",
    "ase": "ase.build layers (0 adsorbate, 1 top, 2... below) mapped to OC20 tags",
}


def map_tags(
    atoms: Atoms, rule: TagRule = "auto", where: str = ""
) -> tuple[np.ndarray, str]:
    """Map the tags of one structure to OC20's.

    Args:
        atoms: Structure with tags.
        rule: ``"oc20"``: take them as they are; ``"ase"``: layer numbers of ase.build;
            ``"none"``: ignore them; ``"auto"``: see the module's docstring.
        where: File and frame, for errors.

    Returns:
        Tags (n,) int64 out of {-1, 0, 1, 2}, and one line that says what was done.

    Raises:
        InputError: Tags outside the convention, or undecidable ones under ``"auto"``.
        UsageError: Unknown rule.
    """
    if rule not in (*_MEANING, "auto"):
        raise UsageError(f"tags must be oc20, ase, auto or none, not {rule!r}.")
    tags = np.asarray(atoms.get_tags())
    if tags.dtype.kind not in "biuf" or not np.isfinite(tags).all():
        raise InputError(f"{prefix_of(where)}tags must be whole numbers.")
    tags = tags.astype(np.int64)
    note = ""
    if rule == "auto":
        rule = _detect(atoms, tags, where)
        note = " (found by --tags auto)"
    if rule == "none":
        meaning = "tags are not used" if tags.any() else _MEANING["none"]
        return np.full(len(atoms), -1, dtype=np.int64), meaning + note
    if rule == "oc20":
        _refuse(tags, (tags < 0) | (tags > 2), "OC20's tags 0, 1, 2", where)
        return tags, _MEANING["oc20"] + note
    _refuse(tags, tags < 0, "ase.build's layer numbers 0, 1, 2, ...", where)
    _refuse_gaps(tags, where)
    mapped = np.where(tags == 0, 2, np.where(tags == 1, 1, 0))
    return mapped, _MEANING["ase"] + note


def _detect(atoms: Atoms, tags: np.ndarray, where: str) -> TagRule:
    """Apply the rule ``"auto"`` of the module's docstring."""
    if not tags.any():
        return "none"
    _refuse(tags, tags < 0, "both OC20's tags and ase.build's layers", where)
    present = np.unique(tags)
    if len(present) == 1 and present[0] in (1, 2):
        return "oc20"
    height = heights(atoms)
    steps = np.diff([height[tags == tag].mean() for tag in present])
    falls, rises = bool((steps < -MIN_STEP).all()), bool((steps > MIN_STEP).all())
    if present[-1] > 2:
        _refuse_gaps(tags, where)
        if falls:
            return "ase"
    elif rises:
        return "oc20"
    elif falls and 1 in present:
        return "ase"
    raise InputError(
        f"{prefix_of(where)}tags {_listed(present)} fit neither OC20 (0 sub-surface, 1 "
        "surface, 2 adsorbate, rising) nor ase.build (0 adsorbate, 1 top layer, 2... "
        "below) by the atoms' heights; say which with --tags oc20, ase or none."
    )


def heights(atoms: Atoms) -> np.ndarray:
    """Return how high each atom is along the surface normal [Å], vacuum at the top.

    The normal is perpendicular to two cell vectors, and up is where the third points:
    the one that is not periodic or, if all are, the one across the widest empty gap, at
    which the cell is cut. With fewer periodic directions than two, up is z.
    """
    cell, pbc = np.asarray(atoms.cell), np.asarray(atoms.pbc)
    if pbc.sum() < 2:
        return np.asarray(atoms.positions[:, 2])
    if not pbc.all():
        found = _along(atoms.positions, cell, int(np.argmin(pbc)))
        return np.asarray(atoms.positions[:, 2]) if found is None else found[0]
    cuts = []
    for axis in (2, 0, 1):  # c before others with the same gap
        found = _along(atoms.positions, cell, axis)
        if found is None or found[1] < 1e-8:
            continue
        height, period = found[0] % found[1], found[1]
        ordered = np.sort(height)
        gaps = np.diff(ordered, append=ordered[0] + period)
        bottom = ordered[(int(np.argmax(gaps)) + 1) % len(ordered)]
        # Rounding must not lift the lowest atom to the top of the cell.
        cuts.append((gaps.max(), (height - bottom + 1e-9) % period))
    if not cuts:
        return np.asarray(atoms.positions[:, 2])
    widest = max(gap for gap, _ in cuts)
    return next(height for gap, height in cuts if gap > widest - MIN_STEP)


def _along(
    positions: np.ndarray, cell: np.ndarray, axis: int
) -> tuple[np.ndarray, float] | None:
    """Return heights (n,) above the plane of the other two vectors, and the period [Å].

    None: the two span no plane.
    """
    normal = np.cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3])
    length = float(np.linalg.norm(normal))
    if length < 1e-8:
        return None
    normal = normal / length
    period = float(cell[axis] @ normal)
    if period < 0:  # left-handed cell: the vector points the way that is up
        normal, period = -normal, -period
    return positions @ normal, period


def _refuse(tags: np.ndarray, bad: np.ndarray, convention: str, where: str) -> None:
    if bad.any():
        raise InputError(
            f"{prefix_of(where)}tags {_listed(np.unique(tags[bad]))} are outside "
            f"{convention}."
        )


def _refuse_gaps(tags: np.ndarray, where: str) -> None:
    layers = np.unique(tags[tags > 0])
    missing = np.setdiff1d(np.arange(1, layers.max(initial=0) + 1), layers)
    if len(missing):
        raise InputError(
            f"{prefix_of(where)}tags {_listed(np.unique(tags))} are not ase.build's "
            f"layer numbers: layer {_listed(missing[:5])} has no atoms."
        )


def _listed(values: np.ndarray) -> str:
    shown = ", ".join(str(int(value)) for value in values[:10])
    return shown + (", ..." if len(values) > 10 else "")
