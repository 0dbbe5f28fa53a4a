"""``molflt predict``: structures in, energies and all other targets out."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from molflt.commands.parser import Parser, frames_of, positive
from molflt.errors import InputError, UsageError
from molflt.frames import ALL
from molflt.pretrained import NAMES, checkpoint_path

if TYPE_CHECKING:
    from molflt.data.tags import TagRule
    from molflt.evaluation import Ensemble
    from molflt.predict import Structure

OUTPUTS = (".extxyz", ".csv", ".db")
FORCES = (".extxyz", ".db")
TAGS = ("oc20", "ase", "auto", "none")
FRAMES = (
    "structures of each file, counted as Python does: 0 is the first, -1 the last, "
    "::10 every tenth, and --frames=-5: are the last five"
)
CHECKPOINT_HELP = f"checkpoint of molflt, or a shipped one: {', '.join(NAMES)}"


def main(words: list[str]) -> int:
    """Run ``molflt predict`` on the words after it; 1 if something had to be left."""
    parser = Parser(
        prog="molflt predict",
        description="Predict for structure files. The checkpoint is enough: it knows "
        "architecture, targets, units and references.",
    )
    add = parser.add_argument
    add_inputs(parser)
    add("-o", "--out", type=Path, help=f"write {', '.join(OUTPUTS)} instead of a table")
    add("--forces", action="store_true", help="also forces, where there is a potential")
    add(
        "--stress",
        action="store_true",
        help="also stress [eV/Å^3] of structures that are periodic in three directions",
    )
    add("--energy-key", help="name of the energy's labels in ASE's files, for errors")
    add("--forces-key", help="name of the forces' labels; used with --forces")
    add("--batch-size", type=positive, help="largest number of structures at once")
    options = parser.parse_args(words)
    checkpoints, inputs = split_inputs(options.checkpoint, options.inputs)
    return predict(
        checkpoints,
        inputs,
        options.out,
        options.batch_size,
        options.device,
        options.tags,
        options.batch_atoms,
        options.forces,
        options.frames,
        options.stress,
        options.energy_key,
        options.forces_key,
    )


def add_inputs(parser: Parser) -> None:
    """Add checkpoints, input files, and how to evaluate them."""
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help=CHECKPOINT_HELP)
    add(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="any file ASE reads (all frames), .sdf, .mol, .smi, .csv, .tsv, .lmdb of "
        "molflt or OCP; those that end in .ckpt, and names of shipped ones, are "
        "further checkpoints, of an ensemble: means and standard deviations are given",
    )
    add("--frames", type=frames_of, default=":", metavar="I:J:K", help=FRAMES)
    add("--batch-atoms", type=positive, help="largest number of atoms at once")
    add("--device", default="auto", help="cpu, cuda, cuda:1, ...; auto: a GPU if any")
    add(
        "--tags",
        choices=TAGS,
        default="auto",
        help="what tags mean: oc20 (0 sub-surface, 1 surface, 2 adsorbate), ase "
        "(ase.build: 0 adsorbate, 1 top layer, 2... below), none, or auto: told apart "
        "by height",
    )


def split_inputs(first: str, rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return checkpoints and structure files.

    Checkpoints are the first word, names of shipped ones, and what ends in .ckpt.

    Raises:
        UsageError: There is no structure file, or a checkpoint is named twice.
    """
    models = [word for word in rest if checkpoint_path(word).suffix == ".ckpt"]
    checkpoints = [first, *models]
    files = [checkpoint_path(word).resolve() for word in checkpoints]
    for index, file in enumerate(files):
        if file in files[:index]:
            raise UsageError(
                f"{checkpoints[index]} is named twice; models of an ensemble differ, "
                "or their deviation is 0 and says nothing."
            )
    inputs = [word for word in rest if word not in models]
    if not inputs:
        raise UsageError("There are only checkpoints; name a structure file too.")
    return checkpoints, inputs


def predict(
    checkpoint: str | Path | Sequence[str | Path],
    inputs: Sequence[str],
    out: Path | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    tags: "TagRule" = "auto",
    batch_atoms: int | None = None,
    forces: bool = False,
    frames: slice = ALL,
    stress: bool = False,
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> int:
    """Predict and write; the result is 1 if a structure or target had to be left."""
    for option in ["--forces"] * forces + ["--stress"] * stress:
        if out is None or out.suffix.lower() not in FORCES:
            raise UsageError(f"{option} needs -o with one of {', '.join(FORCES)}.")
    if forces_key and not forces:
        raise UsageError("--forces-key names labels of forces; predict them: --forces.")
    paths = [checkpoint] if isinstance(checkpoint, str | Path) else list(checkpoint)
    if out is not None:
        check_output(out, OUTPUTS, [*paths, *inputs])
    from molflt.commands.predict_summary import Summary
    from molflt.commands.prediction_files import open_writer
    from molflt.data.progress import count
    from molflt.device import choose_device
    from molflt.evaluation import Ensemble
    from molflt.predict import predict_files

    ensemble = Ensemble(paths, choose_device(device))
    describe(ensemble)
    keys = {"energy": energy_key, "forces": forces_key}
    summary = Summary(ensemble, stress, keys)
    results = predict_files(
        *(ensemble, inputs, tags, batch_size, batch_atoms, forces, frames, stress),
        *(energy_key, forces_key),
    )
    items = summary.watch(count(results, "predicting") if out else results)
    first = next(items, None)
    if first is None:
        raise InputError(summary.failures.all_failed())
    table = nullcontext(print_table(ensemble)) if out is None else None
    with table or open_writer(Path(str(out)), ensemble) as write:
        write(first)
        for structure in items:
            write(structure)
    summary.report(out)
    if out is not None:
        print(f"{summary.count} predictions in {out}", file=sys.stderr)
    return 1 if summary.failures else 0


def describe(ensemble: "Ensemble") -> None:
    """Print what the numbers will mean and where the models are from, on stderr."""
    from molflt.provenance import origin_words, target_words

    for spec in ensemble.targets:
        parts = [f"{spec.name} [{spec.unit}]", spec.kind]
        parts += [f"zero: {spec.reference}"] if spec.reference else []
        if len(ensemble.models) == 1 and len(ensemble.targets) > 1:
            parts.append(target_words(ensemble.models[0].origin, spec.name))
        print(", ".join(filter(None, parts)), file=sys.stderr)
    for model in ensemble.models:
        if words := origin_words(model.origin):
            print(words, file=sys.stderr)
    if (size := len(ensemble.models)) > 1:
        print(f"ensemble of {size}: means, standard deviations", file=sys.stderr)
    if sentence := ensemble.twins():
        print(f"warning: {sentence}", file=sys.stderr)


def check_output(
    out: Path, endings: Sequence[str], inputs: Sequence[str | Path]
) -> None:
    """Refuse an output that cannot be written, or is an input, also through a link.

    Raises:
        UsageError: It does not end in one of `endings`, or is an input.
        InputError: There is no such folder.
    """
    if out.suffix.lower() not in endings:
        raise UsageError(f"-o must end in {', '.join(endings)}, not {out}.")
    if not out.parent.is_dir():
        raise InputError(f"Cannot write {out}: there is no folder {out.parent}.")
    if not out.exists():
        return
    for path in map(Path, inputs):
        if path.exists() and path.samefile(out):
            raise UsageError(f"-o {out} is the input {path}; name another file.")


def print_table(ensemble: "Ensemble") -> Callable[["Structure"], None]:
    """Print the head of a table, and return a function that prints a row."""
    several = len(ensemble.models) > 1
    columns: list[tuple[str, bool, str]] = []
    for spec in ensemble.targets:
        columns.append((spec.name, False, f"{spec.name} [{spec.unit}]"))
        if several:
            columns.append((spec.name, True, f"std_{spec.name} [{spec.unit}]"))
    widths = [max(16, len(head)) for *_, head in columns]
    cells = [f"{c[2]:>{w}}" for c, w in zip(columns, widths, strict=True)]
    print("  ".join([f"{'structure':<32}", f"{'formula':<20}", *cells, "id"]))

    def row(structure: "Structure") -> None:
        where = f"{structure.file}:{structure.frame}"
        numbers = []
        for (name, deviation, _), width in zip(columns, widths, strict=True):
            values = structure.deviations if deviation else structure.values
            text = f"{values[name]:.6f}" if name in values else "failed"
            numbers.append(f"{text:>{width}}")
        formula = structure.atoms.get_chemical_formula()
        cells = [f"{where:<32}", f"{formula:<20}", *numbers, structure.sid]
        print("  ".join(cells).rstrip())

    return row
