"""``molflt inspect``: one HTML page on what a model makes of a structure."""

import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from molflt.commands.parser import Parser
from molflt.commands.predict import CHECKPOINT_HELP, TAGS, check_output
from molflt.errors import InputError
from molflt.files import atomic_path
from molflt.frames import one_frame
from molflt.version import __version__

if TYPE_CHECKING:
    from molflt.data.tags import TagRule
    from molflt.domain import Domain
    from molflt.read_structures import Structure


def main(words: list[str]) -> int:
    """Run ``molflt inspect`` on the words after it."""
    parser = Parser(
        prog="molflt inspect",
        description="Write one HTML page, which needs no network, on a structure as a "
        "model sees it: energy and contributions, attention, kernels and spectra, "
        "where the checkpoint comes from.",
    )
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help=CHECKPOINT_HELP)
    add("structure", metavar="STRUCTURE", help="any file molflt predict reads")
    add("-o", "--out", type=Path, required=True, metavar="REPORT.html", help="the page")
    add(
        "--frame",
        type=int,
        default=0,
        help="which of its structures; -1 is the last",
    )
    add("--target", help="which target, of a model with several")
    add("--device", default="auto", help="cpu, cuda, cuda:1, ...; auto: a GPU if any")
    add(
        "--tags",
        choices=TAGS,
        default="auto",
        help="what tags mean, as for molflt predict",
    )
    options = parser.parse_args(words)
    return inspect(
        options.checkpoint,
        options.structure,
        options.out,
        options.frame,
        options.target,
        options.device,
        options.tags,
    )


def inspect(
    checkpoint: str | Path,
    structure: str | Path,
    out: Path,
    frame: int = 0,
    target: str | None = None,
    device: str = "auto",
    tags: "TagRule" = "auto",
) -> int:
    """Write the page; 0 on success."""
    started = time.perf_counter()
    check_output(out, (".html", ".htm"), [checkpoint, structure])
    from molflt.checkpoint import model_from_record, read_record
    from molflt.device import choose_device
    from molflt.domain import Domain
    from molflt.report.content import report_content
    from molflt.report.facts import checkpoint_facts
    from molflt.report.page import render

    record = read_record(checkpoint)
    model = model_from_record(record, str(checkpoint)).to(choose_device(device))
    domain = Domain([model])
    found, several = _structure(domain, structure, frame, tags)
    more = "; --frame chooses another of its structures" if several else ""
    print(f"{found.where}{more}", file=sys.stderr)
    remarks = [
        f"Warning: the structure has {each}." for each in domain.remarks(found.system)
    ]
    if sentence := domain.silence():
        remarks.append(f"Warning: {sentence}")
    for remark in remarks:
        print(remark, file=sys.stderr)
    content = report_content(
        model,
        found.graph,
        target,
        structure=f"{Path(found.file).name}, frame {found.frame}",
        tags=found.tags,
        remarks=remarks,
        say=lambda what: print(f"... {what}", file=sys.stderr),
    )
    facts = checkpoint_facts(model, checkpoint, str(record.get("version", "?")))
    rows = [
        (f"{heading}: {name}", text)
        for heading, values in facts.items()
        for name, text in values.items()
    ]
    now = datetime.now(timezone.utc).isoformat(sep=" ", timespec="minutes")
    page = render(content, rows, f"Made {now} by molflt {__version__}.")
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    shown = content["target"]
    print(f"{shown['name']} {shown['value']:.6f} {shown['unit']}")
    for note in content["notes"]:
        print(note)
    seconds = time.perf_counter() - started
    print(f"{out}: {len(page.encode()) / 1e6:.2f} MB, {seconds:.1f} s", file=sys.stderr)
    return 0


def _structure(
    domain: "Domain", path: str | Path, frame: int, tags: "TagRule"
) -> tuple["Structure", bool]:
    """Return one structure of a file, and whether the file has others.

    Raises:
        InputError: It cannot be used, or the file has fewer.
    """
    from molflt.read_structures import read_structures

    # One further structure is asked for: to count all would be to read all.
    frames = slice(frame, None) if frame >= 0 else one_frame(frame)
    items = read_structures(path, [], domain, tags, frames)
    found = next(items)
    if isinstance(found, InputError):
        raise found
    several = found.frame > 0 or frame < -1 or next(items, None) is not None
    return found, several
