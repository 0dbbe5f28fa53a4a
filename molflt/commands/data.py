"""``molflt data``: make, convert, check and describe data sets."""

import re
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from molflt.commands.failures import Failures
from molflt.commands.label_options import add_label_options, rules_of
from molflt.commands.parser import Parser, positive
from molflt.errors import InputError

if TYPE_CHECKING:
    from molflt.data.check.report import Report


def main(words: list[str]) -> int:
    """Run ``molflt data`` on the words after it."""
    parser = Parser(prog="molflt data", description="Make and inspect data sets.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_emt(commands.add_parser("emt", help="relax adsorbates on slabs with EMT"))
    _add_qm9(commands.add_parser("qm9", help="fetch QM9 and pack it"))
    _add_oc20(commands.add_parser("oc20", help="fetch OC20's IS2RE and unpack it"))
    _add_convert(commands.add_parser("convert", help="labelled structures to one LMDB"))
    _add_tag(commands.add_parser("tag", help="tell adsorbate, surface and the rest"))
    for name, purpose in (
        ("check", "name what is wrong with a data set; exit code 1 if it cannot train"),
        ("describe", "say what a data set holds"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument(
            "path", type=Path, help="a file, or a folder of LMDB files"
        )
        add_label_options(command)
        command.set_defaults(run=_examine)
    options = parser.parse_args(words)
    return int(options.run(options))


def _add_emt(parser: Parser) -> None:
    parser.description = (
        "Relax adsorbates on fcc metal and alloy slabs with ASE's EMT potential: "
        "OC20's IS2RE task with a cheap potential. A few tenths of a second a system."
    )
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="new folder")
    add("--num", type=positive, default=4000, help="training systems")
    add("--num-val", type=positive, help="systems of each of the four validation sets")
    add("--seed", type=int, default=0, help="seed of everything random")
    add("--workers", type=positive, default=1, help="processes")
    add("--frames", action="store_true", help="also frames with energies and forces")
    parser.set_defaults(run=_emt)


def _emt(options: Namespace) -> int:
    from molflt.data.emt.generate import generate

    counts = generate(
        options.out,
        options.num,
        options.seed,
        options.workers,
        options.frames,
        progress=None,
        num_val=options.num_val,
    )
    for split, numbers in counts.items():
        words = ", ".join(f"{count:,} {what}" for what, count in numbers.items())
        print(f"{options.out / split}.lmdb: {words}")
    return 0


def _add_qm9(parser: Parser) -> None:
    parser.description = (
        "Fetch QM9 (or read upstream's files) and pack molecules and 19 targets."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the data set")
    parser.add_argument(
        "--from-file",
        type=Path,
        help="qm9.zip, gdb9.sdf or a folder with them, instead of a download",
    )
    parser.set_defaults(run=_qm9)


def _qm9(options: Namespace) -> int:
    from molflt.data.qm9.datamodule import prepare_qm9
    from molflt.data.qm9.table import read_table

    path = prepare_qm9(options.out, options.from_file)
    count = len((read_table(path, None) or {})["number"])
    print(f"{path}: {count:,} molecules")
    return 0


def _add_oc20(parser: Parser) -> None:
    parser.description = (
        "Fetch OC20's IS2RE (8.1 GB, 97 GB unpacked) and unpack its LMDB files."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the data set")
    parser.add_argument(
        "--from-file",
        type=Path,
        help="is2res_train_val_test_lmdbs.tar.gz, instead of a download",
    )
    parser.set_defaults(run=_oc20)


def _oc20(options: Namespace) -> int:
    from molflt.data.oc20.fetch import prepare_oc20

    for path in prepare_oc20(options.out, options.from_file):
        print(path)
    return 0


def _add_convert(parser: Parser) -> None:
    parser.description = "Write labelled structures of any known format to one LMDB."
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SRC",
        help="files ASE reads, or LMDB, or folders of LMDB",
    )
    add("out", type=Path, metavar="OUT.lmdb", help="the file to write")
    add_label_options(parser)
    add(
        "--kind",
        choices=("potential", "relaxed", "property"),
        default="potential",
        help="what the energy of ASE's files is: of the geometry, or after relaxation",
    )
    add("--reference", default="", help="what zero energy means, in words")
    add(
        "--skip-bad",
        action="store_true",
        help="leave out, and name, files and structures that cannot be used (SMILES of "
        "salts, a missing label, ...) instead of ending at the first",
    )
    parser.set_defaults(run=_convert)


def _convert(options: Namespace) -> int:
    from molflt.data.check.relaxed_hints import relaxed_hint
    from molflt.data.convert import convert, overlooked
    from molflt.data.lmdb.store import LMDBDataset
    from molflt.data.molecule import ARRAY_LABELS, target_names
    from molflt.data.source import data_files

    rules, failures = rules_of(options), Failures()
    skip = failures.add if options.skip_bad else None
    sources: list[str | Path] = []
    for source in options.sources:
        sources += data_files(source) if Path(source).is_dir() else [source]
    try:
        count = convert(sources, options.out, rules, skip=skip)
    finally:  # also if none is left
        if skip:
            failures.report("files or structures", options.out)
    first = LMDBDataset(options.out)[0]
    labels = target_names(first) + [name for name in ARRAY_LABELS if name in first]
    print(f"{options.out}: {count:,} structures with {', '.join(labels)}")
    for source in sources:
        if keys := overlooked(source, rules):
            print(
                f"{source}: not read were {', '.join(keys)}; --energy-key, "
                "--forces-key, --stress, --kind and --target choose.",
                file=sys.stderr,
            )
        if hint := relaxed_hint(source, rules):
            print(hint, file=sys.stderr)
    return 0


def _add_tag(parser: Parser) -> None:
    parser.description = (
        "Write slabs with OC20's tags (2 adsorbate, 1 surface, 0 below it), for files "
        "that have none, such as a POSCAR. The adsorbate is on the upper side."
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SRC", help="a file that ASE reads, all frames")
    add("out", type=Path, metavar="OUT.extxyz", help="the file to write")
    add(
        "--adsorbate",
        type=_atoms,
        required=True,
        help="its elements (C,O,H), of which all atoms are meant, or the numbers of "
        "its atoms, from 0 (36,37; --adsorbate=-2,-1 are the last two)",
    )
    add(
        "--depth",
        type=float,
        help="slab atoms less than this below the highest are surface [Å], 2 in OC20; "
        "default: the layer on top",
    )
    parser.set_defaults(run=_tag)


def _atoms(words: str) -> list[str | int]:
    """Return the elements and numbers of atoms that stand between commas."""
    found = (word.strip() for word in words.split(","))
    return [int(w) if re.fullmatch(r"-?\d+", w) else w for w in found if w]


def _tag(options: Namespace) -> int:
    from molflt.data.slab_tags import tag_file

    counts = tag_file(options.source, options.out, options.adsorbate, options.depth)
    for (below, surface, above), count in counts.items():
        print(
            f"{options.out}: {count:,} structures with {above} atoms of the adsorbate, "
            f"{surface} of the surface, {below} below it"
        )
    return 0


def _examine(options: Namespace) -> int:
    from molflt.data.check.examine import examine
    from molflt.data.source import data_files

    rules = rules_of(options)
    defects = 0
    files = data_files(options.path)
    for path in files:
        try:
            report = examine(path, rules)
        except InputError as error:
            if len(files) == 1:
                raise
            print(f"molflt: {error}", file=sys.stderr)
            defects += 1
            continue
        width = max(len(name) for name, _ in report.rows())
        for name, text in report.rows():
            print(f"{name:<{width}}  {text}")
        _print_findings(report)
        defects += report.num_defects
    return 1 if defects and options.command == "check" else 0


def _print_findings(report: "Report") -> None:
    for warning in report.warnings:
        print(f"{report.path}: warning: {warning}.")
    for defect in report.defects:
        print(f"molflt: {defect}", file=sys.stderr)
    if more := report.num_defects - len(report.defects):
        print(f"molflt: and {more:,} more defects.", file=sys.stderr)
    if not report.num_defects:
        odd = len(report.warnings)
        but = f", {odd} warning{'s' * (odd > 1)} above" if odd else ""
        count = f"{report.num_structures:,} structures"
        print(f"{report.path}: {count}, no defects{but}.")
