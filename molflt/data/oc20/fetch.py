"""Fetch OC20's IS2RE archive and unpack its LMDB files, and nothing else of it."""

import hashlib
import re
import shutil
import tarfile
from pathlib import Path

from molflt.data.download import download
from molflt.data.progress import track
from molflt.errors import InputError
from molflt.files import atomic_path

URL = (
    "https://dl.fbaipublicfiles.com/opencatalystproject/data/"
    "is2res_train_val_test_lmdbs.tar.gz"
)
MD5 = "cfc04dd2f87b4102ab2f607240d25fb1"  # of the 8.1 GB archive of February 2021
_MEMBER = re.compile(r"(?:^|/)(is2re/(?:10k|100k|all)/[a-z_]+/data\.lmdb)$")
_CHUNK = 1 << 20


def prepare_oc20(
    out: str | Path, from_file: str | Path | None = None, md5: str | None = MD5
) -> list[Path]:
    """Unpack ``is2re/{10k,100k,all}/SPLIT/data.lmdb`` below `out`, for `OC20IS2RE`.

    Unpacked, the files take 97 GB. Files that are there already are kept.

    Args:
        out: Folder of the data set.
        from_file: The archive, fetched by other means, instead of a download.
        md5: Expected MD5 of the archive; None: not checked.

    Returns:
        The LMDB files.

    Raises:
        InputError: No such archive, another one, a damaged one, or a full disk.
    """
    out = Path(out)
    if from_file is None:
        archive = download(URL, out / "is2res_train_val_test_lmdbs.tar.gz")
    else:
        archive = Path(from_file)
        if not archive.is_file():
            raise InputError(f"{archive} does not exist; give the path of the archive.")
    if md5 is not None and _md5(archive) != md5:
        raise InputError(
            f"{archive} is not OC20's IS2RE archive of February 2021: its MD5 is not "
            f"{md5}; fetch it again."
        )
    try:
        found = _unpack(archive, out)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"Cannot unpack {archive} ({error}).") from error
    if not found:
        raise InputError(f"{archive} holds no is2re/SUBSET/SPLIT/data.lmdb.")
    return found


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    count = -(-path.stat().st_size // _CHUNK)
    with open(path, "rb") as file:
        for _ in track(range(count), f"checking {path.name}"):
            digest.update(file.read(_CHUNK))
    return digest.hexdigest()


def _unpack(archive: Path, out: Path) -> list[Path]:
    found = []
    with tarfile.open(archive, "r|*") as members:
        for member in track(members, f"unpacking {archive.name}"):
            match = _MEMBER.search(member.name)
            # The path is made of the matched words: no member writes anywhere else.
            if match is None or not member.isfile():
                continue
            path = out / match[1]
            content = members.extractfile(member)
            if content is not None and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(path) as temporary, open(temporary, "wb") as file:
                    shutil.copyfileobj(content, file, _CHUNK)
            found.append(path)
    return sorted(found)
