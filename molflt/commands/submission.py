"""``molflt submission``: the leaderboard file of OC20's IS2RE task."""

from pathlib import Path
from typing import TYPE_CHECKING

from molflt.commands.parser import Parser, positive
from molflt.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from molflt.data.dataset import GraphDataset
    from molflt.model import FLTModel


def main(words: list[str]) -> int:
    """Run ``molflt submission`` on the words after it."""
    parser = Parser(
        prog="molflt submission",
        description="Predict the four test splits of OC20 IS2RE and write the file the "
        "leaderboard takes: all systems, each once, finite, in float64.",
    )
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="checkpoint of molflt")
    add(
        "--root", type=Path, required=True, help="folder of OC20, as OC20IS2RE takes it"
    )
    add("-o", "--out", type=Path, required=True, help="file to write, .npz")
    add("--batch-size", type=positive, default=32, help="systems at once")
    add("--device", default="auto", help="cpu, cuda, cuda:1, ...; auto: a GPU if any")
    options = parser.parse_args(words)
    submit(
        options.checkpoint,
        options.root,
        options.out,
        options.batch_size,
        options.device,
    )
    return 0


def submit(
    checkpoint: str | Path,
    root: Path,
    out: Path,
    batch_size: int = 32,
    device: str = "auto",
    counts: dict[str, int] | None = None,
) -> None:
    """Predict the test splits and write the leaderboard file.

    Args:
        checkpoint: Checkpoint of molflt.
        root: Folder of the data, see `OC20IS2RE`.
        out: File to write.
        batch_size: Systems evaluated at once.
        device: Where; ``auto``: the first GPU if there is one.
        counts: Systems of each split; None: those of OC20.

    Raises:
        InputError: A split is missing or incomplete, or the checkpoint was not trained
            on relaxed energies.
        UsageError: `out` does not end in ``.npz``, or there is no such device.
    """
    from molflt.checkpoint import load
    from molflt.data.oc20.datamodule import open_test_splits
    from molflt.data.oc20.submission import COUNTS, SPLITS, write_submission
    from molflt.device import choose_device

    counts = COUNTS if counts is None else counts
    model = load(checkpoint, choose_device(device))
    names = [spec.name for spec in model.targets if spec.kind == "relaxed"]
    if len(names) != 1:
        raise InputError(
            f"{checkpoint} does not predict one energy after relaxation, as OC20's "
            "IS2RE task asks for."
        )
    found = open_test_splits(root)
    # Before the hours of prediction, not after them.
    if missing := [folder for folder in SPLITS.values() if folder not in found]:
        raise InputError(f"{', '.join(missing)} is missing in {root}.")
    for split, folder in SPLITS.items():
        if len(found[folder]) != counts[split]:
            raise InputError(
                f"{folder} has {len(found[folder]):,} systems instead of "
                f"{counts[split]:,}."
            )
    predictions = {
        split: _predict(model, found[folder], names[0], batch_size, folder)
        for split, folder in SPLITS.items()
    }
    write_submission(out, predictions, counts)
    print(f"{out}: {sum(counts.values()):,} predictions")


def _predict(
    model: "FLTModel", dataset: "GraphDataset", target: str, batch_size: int, name: str
) -> "tuple[list[str], np.ndarray]":
    import numpy as np

    from molflt.data.progress import track
    from molflt.structures import predict_graphs

    ids: list[str] = []
    parts = []
    for start in track(range(0, len(dataset), batch_size), f"predicting {name}"):
        rows = range(start, min(start + batch_size, len(dataset)))
        graphs = [dataset[row] for row in rows]
        ids += [graph.sid for graph in graphs]
        parts.append(predict_graphs(model, graphs, batch_size)[target])
    return ids, np.concatenate(parts)
