"""``molflt predict``: structures in, energies out."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from molflt.commands.parser import Parser, positive
from molflt.errors import InputError, UsageError

if TYPE_CHECKING:
    from molflt.data.tags import TagRule
    from molflt.model import FLTModel
    from molflt.predict import Structure

OUTPUTS = (".extxyz", ".csv", ".db")
_LISTED = 10  # errors that are named one by one


def main(words: list[str]) -> int:
    """Run ``molflt predict`` on the words after it; 1 if a structure had to be left."""
    parser = Parser(
        prog="molflt predict",
        description="Predict for structure files. The checkpoint is enough: it knows "
        "architecture, targets, units and references.",
    )
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="checkpoint of molflt")
    add(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="any file ASE reads (all frames), .smi, .lmdb of molflt or OCP",
    )
    add("-o", "--out", type=Path, help=f"write {', '.join(OUTPUTS)} instead of a table")
    add("--batch-size", type=positive, default=32, help="structures at once")
    add("--device", default="auto", help="cpu, cuda, cuda:1, ...; auto: a GPU if any")
    add(
        "--tags",
        choices=("oc20", "ase", "auto", "none"),
        default="auto",
        help="what tags mean: oc20 (0 sub-surface, 1 surface, 2 adsorbate), ase "
        "(ase.build: 0 adsorbate, 1 top layer, 2... below), none, or auto: told apart "
        "by height",
    )
    options = parser.parse_args(words)
    if options.out is not None and options.out.suffix not in OUTPUTS:
        raise UsageError(f"-o must end in {', '.join(OUTPUTS)}, not {options.out}.")
    return predict(
        options.checkpoint,
        options.inputs,
        options.out,
        options.batch_size,
        options.device,
        options.tags,
    )


def predict(
    checkpoint: str | Path,
    inputs: list[str],
    out: Path | None = None,
    batch_size: int = 32,
    device: str = "auto",
    tags: "TagRule" = "auto",
) -> int:
    """Predict and write; the result is 1 if a structure could not be used."""
    _refuse_overwriting(out, [checkpoint, *inputs])
    from molflt.checkpoint import load
    from molflt.commands.device import choose_device
    from molflt.commands.prediction_files import open_writer
    from molflt.predict import predict_files

    model = load(checkpoint, choose_device(device))
    for spec in model.targets:
        meaning = f", zero: {spec.reference}" if spec.reference else ""
        print(f"{spec.name} [{spec.unit}], {spec.kind}{meaning}", file=sys.stderr)
    summary = Summary(model)
    items = summary.watch(predict_files(model, inputs, tags, batch_size))
    first = next(items, None)
    if first is None:
        raise InputError(summary.all_failed())
    with open_writer(out, model) if out else nullcontext(print_table(model)) as write:
        write(first)
        for structure in items:
            write(structure)
    summary.report()
    if out is not None:
        print(f"{summary.count} predictions in {out}", file=sys.stderr)
    return 1 if summary.errors else 0


def _refuse_overwriting(out: Path | None, inputs: "list[str | Path]") -> None:
    """Refuse an output that is an input, also by way of a link."""
    if out is None or not out.exists():
        return
    for path in map(Path, inputs):
        if path.exists() and path.samefile(out):
            raise UsageError(f"-o {out} is the input {path}; name another file.")


class Summary:
    """What was read, how, and how far labels in the files are from the predictions.

    Args:
        model: The model.
    """

    def __init__(self, model: "FLTModel") -> None:
        from molflt.training.metrics import AbsoluteErrors

        self._model = model
        self._metrics = {spec.name: AbsoluteErrors() for spec in model.targets}
        self._readings: Counter[tuple[str, str]] = Counter()
        self._known_pbc = {
            _flags(pattern)
            for statistics in model.statistics.values()
            for pattern in statistics.get("pbc_seen", [])
        }
        self.errors: list[str] = []
        self.count = 0

    def watch(self, items: "Iterator[Structure | InputError]") -> "Iterator[Structure]":
        """Pass on the structures and keep the errors."""
        import torch

        for item in items:
            if isinstance(item, InputError):
                self.errors.append(str(item))
                continue
            self._readings[item.tags, _flags(item.graph.pbc[0].tolist())] += 1
            for name, metric in self._metrics.items():
                if name in item.labels:
                    error = item.values[name] - item.labels[name]
                    metric.update(
                        torch.tensor([error], dtype=torch.float64), [str(self.count)]
                    )
            self.count += 1
            yield item

    def report(self) -> None:
        """Print the summary on stderr."""
        for (tags, pbc), count in self._readings.items():
            known = pbc in self._known_pbc or not self._known_pbc
            new = "" if known else ", which the training set has not"
            print(f"{count} structures: {tags}; pbc {pbc}{new}", file=sys.stderr)
        for name, metric in self._metrics.items():
            if metric.update_called:
                values = metric.compute()
                unit = self._model.target_spec(name).unit
                ewt = f", EwT {values['ewt_percent']:.1f} %" if unit == "eV" else ""
                print(
                    f"{name}: MAE {values['mae']:.4g} {unit}{ewt} against "
                    f"{sum(len(part) for part in metric.errors)} labels in the input",
                    file=sys.stderr,
                )
        if self.errors:
            shown = self.errors[:_LISTED]
            for error in shown:
                print(f"molflt: {error}", file=sys.stderr)
            more = len(self.errors) - len(shown)
            rest = f", {more} of them not listed" if more else ""
            print(
                f"molflt: {len(self.errors)} structures or files could not be used"
                f"{rest}.",
                file=sys.stderr,
            )

    def all_failed(self) -> str:
        """Return one sentence for the case that nothing could be predicted."""
        if len(self.errors) == 1:
            return self.errors[0]
        return f"None of {len(self.errors)} inputs could be used; {self.errors[0]}"


def _flags(pbc: list[bool]) -> str:
    return " ".join("FT"[flag] for flag in pbc)


def print_table(model: "FLTModel") -> Callable[["Structure"], None]:
    """Print the head of a table, and return a function that prints a row."""
    columns = [f"{spec.name} [{spec.unit}]" for spec in model.targets]
    widths = [max(16, len(column)) for column in columns]
    cells = [f"{c:>{w}}" for c, w in zip(columns, widths, strict=True)]
    print("  ".join([f"{'structure':<32}", f"{'formula':<20}", *cells]))

    def row(structure: "Structure") -> None:
        where = f"{structure.file}:{structure.frame}"
        numbers = [
            f"{structure.values[spec.name]:>{width}.6f}"
            for spec, width in zip(model.targets, widths, strict=True)
        ]
        formula = structure.atoms.get_chemical_formula()
        print("  ".join([f"{where:<32}", f"{formula:<20}", *numbers]))

    return row
