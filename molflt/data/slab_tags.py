"""Tags of slabs without any: the adsorbate is named, the surface found by height."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from molflt.data.formats.ase_frames import iterate_atoms
from molflt.data.formats.plain import plain
from molflt.data.tags import heights
from molflt.errors import InputError, UsageError, prefix_of
from molflt.files import atomic_path

LAYER_GAP = 1.0  # Å; layers of low-index surfaces are farther apart
THICKEST = 2.5  # Å; a layer that is thicker is none


def tag_slab(
    atoms: Atoms,
    adsorbate: Sequence[str | int],
    depth: float | None = None,
    where: str = "",
) -> Atoms:
    """Return a copy with OC20's tags: 2 adsorbate, 1 surface, 0 below it.

    The adsorbate is on the upper side of the slab, where the cell vector across the
    vacuum points: mostly c, see `molflt.data.tags.heights`.

    Args:
        atoms: Adsorbate and slab.
        adsorbate: Atoms of the adsorbate: elements, of which all atoms are meant, or
            numbers of atoms, from 0.
        depth: Atoms of the slab that are less than this below its highest are surface
            [Å]; 2 is what OC20 takes. None: the layer on top, which ends above a gap of
            `LAYER_GAP`.
        where: File and frame, for errors.

    Raises:
        InputError: There are no such atoms, or none besides them; atoms chosen by
            their element are inside the slab; without `depth`, the slab has no layers.
        UsageError: `adsorbate` is a text, or `depth` is not positive.

    Source: tags of OC20, arXiv 2010.09990.
    """
    start = prefix_of(where)
    if depth is not None and not depth > 0:
        raise UsageError(f"depth must be larger than 0 Å, not {depth:g}.")
    chosen = _chosen(atoms, adsorbate, start)
    height = heights(atoms)
    slab = np.sort(height[~chosen])[::-1]
    if len(slab) == 0:
        raise InputError(f"{start}all atoms are the adsorbate; there is no slab.")
    reach = _thickness(slab, start) if depth is None else depth
    if height[chosen].max() <= slab[0]:
        raise InputError(
            f"{start}no atom of the adsorbate is above the slab; it belongs on the "
            "upper side, where the cell vector across the vacuum points."
        )
    if height[chosen].min() < slab[0] - reach:
        raise InputError(
            f"{start}atoms of the adsorbate lie inside the slab; where both have an "
            "element, name the adsorbate's atoms by their numbers."
        )
    tagged = atoms.copy()
    tagged.calc = atoms.calc
    tagged.set_tags(np.where(chosen, 2, np.where(height > slab[0] - reach, 1, 0)))
    return tagged


def tag_file(
    source: str | Path,
    out: Path,
    adsorbate: Sequence[str | int],
    depth: float | None = None,
) -> Counter[tuple[int, int, int]]:
    """Write all frames of a file with tags, as extxyz, which keeps them.

    Args:
        source: A file that ASE reads.
        out: The file to write; it appears only when it is complete.
        adsorbate: As of `tag_slab`, of every frame.
        depth: As of `tag_slab`.

    Returns:
        How many frames have how many atoms of the tags 0, 1 and 2.

    Raises:
        InputError: Names file and frame that cannot be used, or `out` cannot be
            written.
        UsageError: As `tag_slab`; or `out` is no ``.extxyz``, or is the source.
    """
    if out.suffix != ".extxyz":
        raise UsageError(f"The file to write must end in .extxyz, not {out}.")
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise UsageError(f"{out} is the file to read; write to another.")
    counts: Counter[tuple[int, int, int]] = Counter()
    with atomic_path(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for where, atoms in iterate_atoms(source):
            if isinstance(atoms, InputError):
                raise atoms
            tagged = plain(tag_slab(atoms, adsorbate, depth, where))
            ase.io.write(file, tagged, format="extxyz")
            below, surface, above = np.bincount(tagged.get_tags(), minlength=3)
            counts[int(below), int(surface), int(above)] += 1
    return counts


def _chosen(atoms: Atoms, adsorbate: Sequence[str | int], start: str) -> np.ndarray:
    """Return True for atoms of the adsorbate (n,)."""
    if isinstance(adsorbate, str):
        raise UsageError(f"adsorbate is a list, such as ['C', 'O'], not {adsorbate!r}.")
    if not adsorbate:
        raise UsageError("adsorbate must name elements or atoms.")
    chosen = np.zeros(len(atoms), dtype=bool)
    for one in adsorbate:
        if isinstance(one, str):
            if one not in atomic_numbers:
                raise UsageError(f"There is no element {one!r}.")
            mine = atoms.numbers == atomic_numbers[one]
            if not mine.any():
                raise InputError(f"{start}there is no atom of {one}.")
            chosen |= mine
        elif -len(atoms) <= one < len(atoms):
            chosen[one] = True
        else:
            raise InputError(f"{start}there is no atom {one} among {len(atoms)}.")
    return chosen


def _thickness(slab: np.ndarray, start: str) -> float:
    """Return how deep the layer on top reaches into the gap below it [Å].

    Args:
        slab: Heights of its atoms, descending.
        start: First words of errors.
    """
    gaps = -np.diff(slab)
    wide = np.flatnonzero(gaps >= LAYER_GAP)
    lowest = slab[wide[0]] if len(wide) else slab[-1]
    thickness = float(slab[0] - lowest)
    if thickness > THICKEST:
        raise InputError(
            f"{start}the slab has no layer on top ({thickness:.1f} Å without a gap of "
            f"{LAYER_GAP:g} Å); say how deep its surface reaches (depth; OC20: 2 Å)."
        )
    return thickness + LAYER_GAP / 2
