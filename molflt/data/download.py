"""Fetch a file over HTTP(S): whole and checked, or not at all.

What has arrived stands in ``<name>.part`` until it is complete, and a later call goes
on from there. Certificates are verified.
"""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from molflt.errors import InputError
from molflt.files import writing
from molflt.provenance import file_sha256

_CHUNK = 1 << 18
_ATTEMPTS = 3
_HEADERS = {"User-Agent": "molflt", "Accept-Encoding": "identity"}


class _BrokenTransferError(Exception):
    """What arrived is not the file, but may be its beginning; says why."""


class _WrongFileError(Exception):
    """What arrived is no part of the file: it cannot be continued; says why."""


def download(
    urls: str | Sequence[str],
    path: str | Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    timeout: float = 30.0,
) -> Path:
    """Fetch `path` from the first of `urls` that delivers it, unless it is there.

    Each mirror is tried up to three times, going on where the connection broke.

    Args:
        urls: One address or several mirrors of the same file.
        path: Where to put it; missing folders are made.
        sha256: Expected SHA-256 in hexadecimal; None: not known.
        size: Expected bytes; None: as the server announces them.
        timeout: Seconds to wait for a connection and for each piece.

    Returns:
        `path`.

    Raises:
        InputError: No mirror delivered the file; the message says where to put a copy
            fetched by other means. A file that is there and fails `sha256` or `size`
            is left as it is and named.
    """
    path = Path(path)
    mirrors = [urls] if isinstance(urls, str) else list(urls)
    if path.exists():
        problem = _problem(path, sha256, size)
        if problem:
            raise InputError(f"{path} {problem}; remove it to fetch it again.")
        return path
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in mirrors:
        reason = _try_mirror(url, path, sha256, size, timeout)
        if reason is None:
            return path
        reasons.append(f"{url}: {reason}")
    raise InputError(
        f"Cannot download {path.name} ({'; '.join(reasons)}); fetch it by other means "
        f"and put it at {path}."
    )


def _try_mirror(
    url: str, path: Path, sha256: str | None, size: int | None, timeout: float
) -> str | None:
    """Fetch from one address; return what went wrong, or None."""
    if not url.startswith(("https://", "http://")):
        return "only http and https addresses can be fetched"
    part = path.with_name(path.name + ".part")
    reason = "no attempt was made"
    for _ in range(_ATTEMPTS):
        try:
            _transfer(url, part, size, timeout)
            if problem := _problem(part, sha256, size):
                raise _WrongFileError(f"the file received {problem}")
        except urllib.error.HTTPError as error:
            error.close()
            return f"the server answered {error.code} {error.reason}"
        except _WrongFileError as error:
            _forget(part)
            reason = str(error)
        except (_BrokenTransferError, OSError, http.client.HTTPException) as error:
            # URLError and socket timeouts are OSErrors, as is a full disk.
            reason = (
                str(getattr(error, "reason", None) or error) or type(error).__name__
            )
        else:
            _marker(part).unlink(missing_ok=True)
            part.replace(path)
            return None
    return reason


def _transfer(url: str, part: Path, size: int | None, timeout: float) -> None:
    """Append to `part` what is missing, as announced by the server."""
    with _response(url, part, timeout) as response:
        announced = response.headers.get("Content-Length")
        if announced is not None and not re.fullmatch("[0-9]{1,15}", announced):
            raise _BrokenTransferError("the server announces no size that is a number")
        have = 0
        if response.status == 206:
            have = _received(part)
            start = response.headers.get("Content-Range", "").split("-")[0]
            if start != f"bytes {have}":
                raise _WrongFileError("the server sent another range")
        version = response.headers.get("ETag", "")
        # A weak or missing tag cannot promise the same bytes: then start over.
        if version.startswith('"') and version.isascii():
            _marker(part).write_text(version)
        else:
            _marker(part).unlink(missing_ok=True)
        total = size if announced is None else have + int(announced)
        if size is not None and total != size:
            raise _WrongFileError(f"it has {total:,} bytes instead of {size:,}")
        with open(part, "ab" if have else "wb") as file:
            for chunk in _pieces(response, part.stem, have, total):
                have += len(chunk)
                if size is not None and have > size:
                    raise _WrongFileError(f"the file has more than {size:,} bytes")
                file.write(chunk)
    if total is not None and have != total:
        raise _BrokenTransferError(
            f"the connection broke after {have:,} of {total:,} bytes"
        )


def _response(url: str, part: Path, timeout: float) -> http.client.HTTPResponse:
    """Ask for what `part` lacks, or for all of it where its version is not known."""
    request = urllib.request.Request(url, headers=_HEADERS)
    if (have := _received(part)) and _marker(part).exists():
        # If-Range: a server whose file has changed since sends all of it.
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", _marker(part).read_text())
    try:
        found: http.client.HTTPResponse = urllib.request.urlopen(
            request, timeout=timeout
        )
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        raise _WrongFileError("the server has less than was received") from error
    return found


def _pieces(
    response: http.client.HTTPResponse, name: str, have: int, total: int | None
) -> Iterator[bytes]:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total, completed=have)
        while True:
            try:
                chunk = response.read(_CHUNK)
            except http.client.IncompleteRead as error:
                chunk = error.partial
                if chunk:
                    yield chunk
                return
            if not chunk:
                return
            yield chunk
            progress.advance(task, len(chunk))


def _problem(path: Path, sha256: str | None, size: int | None) -> str | None:
    """What is wrong with a file, or None."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"has {found:,} bytes instead of {size:,}"
    if sha256 is not None and file_sha256(path) != sha256.lower():
        return f"does not have the SHA-256 {sha256}"
    return None


def _received(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _marker(part: Path) -> Path:
    """File with the server's tag of the version that `part` belongs to."""
    return part.with_name(part.name + ".etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _marker(part).unlink(missing_ok=True)
