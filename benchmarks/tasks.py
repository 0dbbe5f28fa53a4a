"""The tasks of `accuracy.py`: data, loss and errors, the same for every model."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from adsorption import augmentation_of
from moves import with_term
from peers import PeerModel
from plan import Run
from torch import Tensor
from torch_geometric.data import Batch

from molflt.data import EMTIS2RE, QM9, RMD17
from molflt.data.datamodule import GraphDataModule
from molflt.data.dataset import CachedDataset
from molflt.data.statistics import Statistics, fit_statistics
from molflt.gradients import energy_and_forces
from molflt.model import FLTModel
from molflt.nn.gradients import EnergyForces
from molflt.targets import ENERGY_THRESHOLD
from molflt.training.augmentation import PositionAugmentation
from molflt.training.losses import vector_loss

TEST_INDICES = Path(__file__).resolve().parent / "qm9_test_indices.npz"
QM9_VAL, QM9_TEST = 1_000, 2_000
RMD17_VAL = 50
FORCE_WEIGHT = 5.0
"""Weight of the mean length of the force error [std/Å] beside the energy's [std]."""

Model = FLTModel | PeerModel
Errors = dict[str, float]
Loss = Callable[[Model, Batch], Tensor]
BatchErrors = Callable[[Model, Batch], dict[str, Tensor]]


@dataclass(frozen=True)
class Roots:
    """Folders of the data sets."""

    qm9: str | Path = "data/qm9"
    qm9_from_file: str | Path | None = None
    rmd17: str | Path = "data/rmd17"
    emt: str | Path | None = None


@dataclass
class Task:
    """Data of a run and the offset and scale of its target, with loss and errors.

    Args:
        data: Opened data module.
        statistics: Offset and scale of the target.
        loss: Of a model on a batch.
        errors: Terms of each metric, to be averaged over a set, of a model on a batch.
        notes: What a result file says about the data.
    """

    data: GraphDataModule
    statistics: Statistics
    loss: Loss
    errors: BatchErrors
    notes: dict[str, Any]


def open_task(run: Run, roots: Roots, steps: int = 0) -> Task:
    """Read the data of a run into memory and fit its offset and scale.

    Args:
        run: The run.
        roots: Folders of the data.
        steps: Its steps, over which the weight of an auxiliary task falls; 0: it does
            not.
    """
    data, notes = {"qm9": qm9, "emt": emt, "rmd17": rmd17}[run.task](run, roots)
    for dataset in (data.train, *data.val.values(), *data.test.values()):
        if isinstance(dataset, CachedDataset):
            dataset.load(f"reading {run.task}")
    (spec,) = data.targets
    statistics = fit_statistics(data.train, spec)

    def loss(model: Model, batch: Batch, progress: float = 0.0) -> Tensor:
        labels = model.normalise(spec.name, batch[spec.name], batch)
        found, term = with_term(model, batch, progress)
        return (found[spec.name] - labels).abs().mean() + term

    def force_loss(model: Model, batch: Batch) -> Tensor:
        found = forces_of(model, batch, create_graph=True)
        labels = model.normalise(spec.name, batch[spec.name], batch)
        error = (found.forces - batch.forces) / statistics.std
        energy = (found.normalised - labels).abs().mean()
        return energy + FORCE_WEIGHT * vector_loss("l1", error)

    @torch.no_grad()
    def errors(model: Model, batch: Batch) -> dict[str, Tensor]:
        error = (model(batch)[spec.name] - batch[spec.name]).abs()
        if run.task == "emt":
            return {"mae": error, "ewt": (error < ENERGY_THRESHOLD).double()}
        return {"mae": error}

    moves, counter = augmentation_of(run.model), count()
    augment = PositionAugmentation(moves["noise_A"], moves["interpolation"])

    def augmented_loss(model: Model, batch: Batch) -> Tensor:
        index = next(counter)
        progress = index / steps if steps else 0.0
        return loss(model, augment(batch, (run.seed, index), progress), progress)

    if run.task == "emt":
        return Task(data, statistics, augmented_loss, errors, notes)
    if run.task == "rmd17":
        return Task(data, statistics, force_loss, force_errors, notes)
    return Task(data, statistics, loss, errors, notes)


def force_errors(model: Model, batch: Batch) -> dict[str, Tensor]:
    """Return absolute errors of energies and of components of forces."""
    (spec,) = model.targets
    found = forces_of(model, batch)
    return {
        "mae": (found.energy - batch[spec.name]).abs(),
        "force_mae": (found.forces - batch.forces).abs().flatten(),
    }


def forces_of(
    model: Model, batch: Batch, *, create_graph: bool = False
) -> EnergyForces:
    """Return energies and forces; peers have what `energy_and_forces` asks of ours."""
    return energy_and_forces(cast(FLTModel, model), batch, create_graph=create_graph)


def evaluate(
    model: Model, errors: BatchErrors, names: list[str], loaders: list[Any]
) -> Errors:
    """Return the mean of each metric on each set, as ``<set>_<metric>``."""
    model.eval()
    means = {}
    for name, loader in zip(names, loaders, strict=True):
        parts = [errors(model, batch) for batch in loader]
        for metric in parts[0]:
            values = torch.cat([part[metric] for part in parts])
            means[f"{name}_{metric}"] = float(values.mean())
    return means


def qm9(run: Run, roots: Roots) -> tuple[GraphDataModule, dict[str, Any]]:
    """Open QM9; training, validation and test molecules are disjoint."""
    data = QM9(
        roots.qm9,
        run.target,
        from_file=roots.qm9_from_file,
        split="random:0",
        num_train=run.train,
        num_val=QM9_VAL,
        num_test=QM9_TEST,
        batch_size=run.batch_size,
        eval_batch_size=100,
        seed=run.seed,
        in_memory=True,
    )
    split = data.split
    check_test_indices(split.test, split.total)
    everything = np.concatenate([split.train, split.val, split.test])
    if len(np.unique(everything)) != len(everything):
        raise SystemExit("Training, validation and test molecules overlap.")
    fluorine = any(9 in data.train[i].z for i in range(min(1000, len(data.train))))
    notes = {
        "molecules": split.total,
        "without_fluorine": not fluorine,
        "split_sha256": split.digest,
    }
    return data, notes


def check_test_indices(test: np.ndarray, total: int) -> None:
    """Stop unless the test molecules are those that were committed."""
    with np.load(TEST_INDICES, allow_pickle=False) as stored:
        if f"test_{total}" not in stored:
            raise SystemExit(
                f"{TEST_INDICES.name} has no test molecules for a QM9 of {total:,} "
                f"molecules, only for {', '.join(stored)}."
            )
        if not np.array_equal(stored[f"test_{total}"], test):
            raise SystemExit(f"The test molecules are not those of {TEST_INDICES}.")


def emt(run: Run, roots: Roots) -> tuple[GraphDataModule, dict[str, Any]]:
    """Open adsorption energies; their four validation sets are all that there is."""
    data = EMTIS2RE(
        roots.emt, batch_size=run.batch_size, eval_batch_size=32, seed=run.seed
    )
    data.setup()
    sizes = {name: len(split) for name, split in data.test.items()}
    notes = {"train": len(data.train), "structures": sizes}
    return data, notes | augmentation_of(run.model)


def rmd17(run: Run, roots: Roots) -> tuple[GraphDataModule, dict[str, Any]]:
    """Open one molecule's trajectory, published split 1."""
    data = RMD17(
        roots.rmd17,
        run.target,
        num_val=RMD17_VAL,
        batch_size=run.batch_size,
        eval_batch_size=50,
        seed=run.seed,
        max_train=run.train,
    )
    data.setup()
    if len(data.train) != run.train:
        raise SystemExit(
            f"{run.name} asks for {run.train:,} geometries; the training set has "
            f"{len(data.train):,}."
        )
    sizes = {"train": len(data.train), "val": RMD17_VAL, "test": len(data.test["test"])}
    return data, {**sizes, "force_weight": FORCE_WEIGHT}
