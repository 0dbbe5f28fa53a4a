"""Open LMDB files of any origin read-only, without crashing on broken ones."""

import os
import struct
import weakref
from pathlib import Path
from typing import Any

import lmdb

from molflt.errors import InputError

_MAGIC = 0xBEEFC0DE
_META = struct.Struct("<II16x48x48xQQ")  # magic, version, ..., last page, transaction
_PAGE_HEADER = 16
_PAGE_SIZE_OFFSET = _PAGE_HEADER + 24  # the free list's md_pad holds the page size

# py-lmdb refuses to open a file twice in one process, so that data sets share handles.
_open: "weakref.WeakValueDictionary[tuple[int, str], lmdb.Environment]" = (
    weakref.WeakValueDictionary()
)
_versions: dict[tuple[int, str], tuple[int, int, int]] = {}


def open_readonly(path: str | Path) -> lmdb.Environment:
    """Open a single-file LMDB, or return the handle this process already has.

    The size of the file is compared with what its meta pages promise *before* LMDB maps
    it: reading a page beyond the end of a cut file would kill the process (SIGBUS).

    Args:
        path: The LMDB file.

    Raises:
        InputError: No such file, a folder, empty, not an LMDB, cut short, unreadable.
    """
    path = Path(path)
    key = (os.getpid(), os.path.realpath(path))
    version = _check_file(path)
    if (found := _open.get(key)) is not None and _versions.get(key) == version:
        return found
    # A handle inherited through fork, or one of a file that was since replaced, must
    # not be used, nor keep the name taken.
    for old in [old for old in list(_open) if old[1] == key[1]]:
        if (environment := _open.pop(old, None)) is not None:
            environment.close()
    try:
        environment = lmdb.open(
            str(path),
            subdir=False,
            readonly=True,
            lock=False,
            meminit=False,
            readahead=False,
        )
    except lmdb.Error as error:
        raise InputError(f"{path} cannot be opened as an LMDB ({error}).") from error
    _open[key], _versions[key] = environment, version
    return environment


def _check_file(path: Path) -> tuple[int, int, int]:
    """Refuse what LMDB must not map; return what changes when a file is replaced."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, not an LMDB file; name the file in it.")
    if not path.exists():
        raise InputError(f"No such file: {path}.")
    try:
        status = path.stat()
        size = status.st_size
        with open(path, "rb") as file:
            first = file.read(_PAGE_HEADER + _META.size)
            page_size = _page_size(path, first, size)
            file.seek(page_size)
            second = file.read(_PAGE_HEADER + _META.size)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    last_page = 0
    newest = -1
    for page in (first, second):
        if len(page) < _PAGE_HEADER + _META.size:
            continue
        magic, _, last, transaction = _META.unpack_from(page, _PAGE_HEADER)
        if magic == _MAGIC and transaction > newest:
            newest, last_page = transaction, last
    promised = (last_page + 1) * page_size
    if size < promised:
        raise InputError(
            f"{path} is cut short: it has {size:,} bytes and needs {promised:,}; "
            "copy or download it again."
        )
    return status.st_ino, status.st_mtime_ns, size


def _page_size(path: Path, first: bytes, size: int) -> int:
    if size == 0:
        raise InputError(f"{path} is empty, not an LMDB file.")
    if len(first) >= _PAGE_HEADER + 4:
        (magic,) = struct.unpack_from("<I", first, _PAGE_HEADER)
        if magic == _MAGIC and len(first) < _PAGE_HEADER + _META.size:
            raise InputError(f"{path} is cut short: it has only {size} bytes.")
        if magic == _MAGIC:
            (page_size,) = struct.unpack_from("<I", first, _PAGE_SIZE_OFFSET)
            if 512 <= page_size <= 65536 and page_size & (page_size - 1) == 0:
                return int(page_size)
    raise InputError(f"{path} is not an LMDB file.")


class LMDBReader:
    """Values of one LMDB, in whatever process asks for them.

    The file is opened at first use in each process, so that a reader may be forked or
    pickled to loader processes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._environment: lmdb.Environment | None = None
        self._pid = -1
        self._size = 0

    def get(self, key: bytes, record: int | None = None) -> bytes | None:
        """Return one value; None if there is no such key.

        Args:
            key: The key.
            record: Number of the record, named in the error.

        Raises:
            InputError: The file cannot be opened or is damaged.
        """
        try:
            with self._opened().begin(buffers=True) as transaction:
                view: memoryview | None = transaction.get(key)
                # A damaged length is noticed before what it spans is touched: reading
                # beyond the end of the file would kill the process.
                if view is not None and len(view) > self._size:
                    raise lmdb.CorruptedError(f"{len(view):,} bytes in one value")
                return None if view is None else bytes(view)
        except (lmdb.Error, MemoryError) as error:
            where = self.path if record is None else f"{self.path}, record {record}"
            raise InputError(f"{where} is damaged ({error}).") from error

    def num_entries(self) -> int:
        """Return the number of keys."""
        return int(self._opened().stat()["entries"])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_environment": None, "_pid": -1}

    def _opened(self) -> lmdb.Environment:
        if self._environment is None or self._pid != os.getpid():
            self._environment = open_readonly(self.path)
            self._pid = os.getpid()
            self._size = self.path.stat().st_size
        return self._environment
