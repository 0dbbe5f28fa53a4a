"""Read QM9 as upstream ships it: gdb9.sdf, gdb9.sdf.csv and uncharacterized.txt.

The first two may stand in qm9.zip. `uncharacterized.txt` lists, counted from 1, the
3,054 molecules whose geometry belongs to another molecule than their name says; they
are left out, which leaves 130,831. Numbers are read and converted in float64: total
energies near -11,000 eV have a float32 spacing of 1 meV.
"""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase
from torch_geometric.data import Data

from molflt.data.download import download
from molflt.data.molecule import make_graph
from molflt.data.progress import track
from molflt.data.qm9.targets import CSV_COLUMNS, CSV_FACTORS, QM9_TARGETS
from molflt.errors import InputError
from molflt.provenance import file_sha256

SDF, CSV, ZIP, EXCLUDED = "gdb9.sdf", "gdb9.sdf.csv", "qm9.zip", "uncharacterized.txt"

ZIP_URLS = (
    "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/molnet_publish/qm9.zip",
)
EXCLUDED_URLS = (
    "https://ndownloader.figshare.com/files/3195404",
    "https://springernature.figshare.com/ndownloader/files/3195404",
)


@dataclass(frozen=True)
class QM9Source:
    """Where the three files are; `zip` replaces the first two."""

    excluded: Path
    zip: Path | None = None
    sdf: Path | None = None
    csv: Path | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over the SHA-256 of every file."""
        digest = hashlib.sha256()
        for path in (self.excluded, self.zip, self.sdf, self.csv):
            digest.update(b"-" if path is None else file_sha256(path).encode())
        return digest.hexdigest()

    @property
    def name(self) -> str:
        """The file that errors about molecules name."""
        return str(self.zip or self.sdf)


def find_source(folder: str | Path) -> QM9Source | None:
    """Look for upstream's files in `folder` and its raw; None if any is missing."""
    for place in (Path(folder), Path(folder) / "raw"):
        excluded = place / EXCLUDED
        if excluded.is_file() and (place / SDF).is_file() and (place / CSV).is_file():
            return QM9Source(excluded, sdf=place / SDF, csv=place / CSV)
        if excluded.is_file() and (place / ZIP).is_file():
            return QM9Source(excluded, zip=place / ZIP)
    return None


def source_from_file(path: str | Path) -> QM9Source:
    """Use files that are there: a qm9.zip, a gdb9.sdf, or a folder that has them.

    Raises:
        InputError: A file is missing.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file.")
    if path.is_dir():
        source = find_source(path)
        if source is None:
            raise InputError(
                f"{path} must hold {EXCLUDED} and either {ZIP} or {SDF} and {CSV}."
            )
        return source
    excluded = path.parent / EXCLUDED
    csv = path.with_name(path.name + ".csv")
    needed = [excluded] if path.suffix == ".zip" else [excluded, csv]
    for file in needed:
        if not file.is_file():
            raise InputError(f"{path} needs {file.name} beside it, in {path.parent}.")
    if path.suffix == ".zip":
        return QM9Source(excluded, zip=path)
    return QM9Source(excluded, sdf=path, csv=csv)


def fetch_source(folder: str | Path) -> QM9Source:
    """Download upstream's files into `folder`.

    Raises:
        InputError: No server delivers them; says where to put them by hand.
    """
    folder = Path(folder)
    archive = download(ZIP_URLS, folder / ZIP)
    return QM9Source(download(EXCLUDED_URLS, folder / EXCLUDED), zip=archive)


def read_source(source: QM9Source) -> tuple[list[Data], np.ndarray]:
    """Read the characterised molecules.

    Returns:
        Graphs without labels, their `sid` being upstream's name (``gdb_1``); and the
        targets (len, 19) float64 in the order and units of `QM9_TARGETS`.

    Raises:
        InputError: A file is not what its name says, the files do not belong together,
            or a molecule that is not excluded lacks atoms or a target.
    """
    excluded = read_excluded(source.excluded)
    names, values = _read_csv(source)
    keep = np.ones(len(names), dtype=bool)
    if excluded.max(initial=0) > len(names) or excluded.min(initial=1) < 1:
        raise InputError(
            f"{source.excluded} excludes molecules that {source.name} does not have "
            f"({len(names):,} molecules)."
        )
    keep[excluded - 1] = False  # upstream counts from 1
    bad = keep & ~np.isfinite(values).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        target = QM9_TARGETS[int(np.argmin(np.isfinite(values[row])))].name
        raise InputError(
            f"{source.name}: {names[row]} has no {target} and {source.excluded} does "
            "not exclude it."
        )
    return _read_sdf(source, names, keep), values[keep]


def read_excluded(path: Path) -> np.ndarray:
    """Return the indices of `uncharacterized.txt`, counted from 1.

    Raises:
        InputError: The file lists nothing.
    """
    indices = [
        int(line.split()[0])
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.split() and line.split()[0].isdecimal()
    ]
    if not indices:
        raise InputError(f"{path} lists no molecules; it is not upstream's {EXCLUDED}.")
    return np.unique(np.array(indices, dtype=np.int64))


def _member(source: QM9Source, name: str) -> bytes:
    if source.zip is None:
        path = source.sdf if name == SDF else source.csv
        assert path is not None
        return path.read_bytes()
    try:
        with zipfile.ZipFile(source.zip) as archive:
            return archive.read(name)
    except KeyError as error:
        raise InputError(f"{source.zip} does not contain {name}.") from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise InputError(f"{source.zip} cannot be read as a zip ({error}).") from error


def _read_csv(source: QM9Source) -> tuple[list[str], np.ndarray]:
    """Return names and targets, in our order and units, of all molecules."""
    where = source.csv or f"{source.zip}:{CSV}"
    lines = _member(source, CSV).decode("utf-8", errors="replace").splitlines()
    header = lines[0].strip().split(",") if lines else []
    missing = [name for name in ("mol_id", *CSV_COLUMNS) if name not in header]
    if missing:
        raise InputError(
            f"{where} has no column {missing[0]!r}; is it upstream's file?"
        )
    order = [header.index(name) for name in CSV_COLUMNS]
    first = header.index("mol_id")
    names: list[str] = []
    values = np.empty((len(lines) - 1, len(order)))
    for row, line in enumerate(track(lines[1:], "reading targets")):
        cells = line.strip().split(",")
        try:
            values[row] = [float(cells[column] or "nan") for column in order]
        except (ValueError, IndexError) as error:
            raise InputError(f"{where}, line {row + 2}: {error}.") from error
        name = f"gdb_{row + 1}"
        if cells[first] != name:  # the exclusion list counts rows
            raise InputError(
                f"{where}, line {row + 2}: {cells[first]!r} stands where upstream has "
                f"{name!r}."
            )
        names.append(name)
    return names, values * CSV_FACTORS


def _read_sdf(source: QM9Source, names: list[str], keep: np.ndarray) -> list[Data]:
    """Return the graphs of the molecules to keep; the order must be that of `names`."""
    where = source.sdf or f"{source.zip}:{SDF}"
    graphs: list[Data] = []
    count = 0
    # No sanitisation: only species and positions are used, whatever the valences are.
    with BytesIO(_member(source, SDF)) as file, rdBase.BlockLogs():
        molecules = Chem.ForwardSDMolSupplier(file, sanitize=False, removeHs=False)
        for molecule in track(molecules, "reading molecules", total=len(names)):
            name = names[count] if count < len(names) else f"molecule {count + 1}"
            count += 1
            if molecule is None:
                raise InputError(f"{where}: {name} cannot be read as an SDF record.")
            title = molecule.GetProp("_Name").strip()
            if count <= len(names) and title != name:
                raise InputError(
                    f"{where}: record {count} is {title!r}, {CSV} has {name!r} there."
                )
            if count > len(names) or not keep[count - 1]:
                continue
            species = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
            positions = molecule.GetConformer().GetPositions()
            label = f"{where}: {name}"
            graphs.append(make_graph(species, positions, sid=name, where=label))
    if count != len(names):
        raise InputError(
            f"{where} has {count:,} molecules and {CSV} has {len(names):,}."
        )
    return graphs
