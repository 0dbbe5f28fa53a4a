"""The main job end to end: train, test on four splits, predict a structure, draw."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from rich.table import Table

from molflt.analysis.kernels import head_kernels
from molflt.analysis.plots import kernel_figure, parity
from molflt.analysis.style import DOUBLE, panels, save
from molflt.checkpoint import save_model
from molflt.commands.demo_plan import make_plan, planned
from molflt.commands.lightning import train
from molflt.commands.predict import predict
from molflt.commands.tables import show
from molflt.data.datamodule import GraphDataModule
from molflt.data.dataset import GraphDataset
from molflt.data.statistics import fit_statistics
from molflt.files import atomic_path
from molflt.model import FLTModel
from molflt.provenance import provenance
from molflt.structures import predict_graphs
from molflt.training.metrics import AbsoluteErrors

METHODS = ("FLT", "linear fit", "mean")


def run(
    config: Path,
    out: Path,
    root: Path | None = None,
    minutes: float = 8.0,
    steps: int | None = None,
    command: str = "molflt demo",
) -> int:
    """Train on the EMT data, test, predict, and write everything to a folder.

    Files: ``demo.ckpt``, ``metrics.json``, ``parity.png``, ``kernels.png``,
    ``structure.extxyz`` and ``prediction.extxyz``.

    Args:
        config: Settings of the model and its training.
        out: Folder; made if missing.
        root: Folder of the data; None: the shipped sample.
        minutes: Limit on training.
        steps: Optimiser steps; None: as many as fit into `minutes`, measured first,
            but not more epochs than the configuration says.
        command: Kept in ``metrics.json``.

    Returns:
        0 on success.

    Raises:
        InputError: The data cannot be used, or a file cannot be written.
    """
    words = ["--config", str(config), "--trainer.accelerator=cpu"]
    words += ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]
    words += [] if root is None else [f"--data.init_args.root={root}"]
    plan = make_plan(words, minutes, steps)
    print(f"Training for {plan.steps:,} steps, at most {minutes:g} minutes.")
    cli = planned(words, plan)
    started = time.perf_counter()
    train(cli)
    seconds = time.perf_counter() - started
    model, done = cli.model.model, cli.trainer.global_step
    assert model is not None
    model.eval()
    if done < plan.steps:
        print(f"The time was over after {done:,} steps; the result is a little worse.")
    save_model(model, out / "demo.ckpt")
    results, splits = test(model, cli.datamodule)
    show(results_table(results))
    training = {
        "structures": len(cli.datamodule.train),
        "steps": done,
        "epochs": round(done / plan.batches, 1),
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "parameters": model.num_parameters,
    }
    record = {"command": command, "training": training, "results": results}
    with atomic_path(out / "metrics.json") as temporary:
        temporary.write_text(json.dumps(record | provenance(), indent=1) + "\n")
    draw(model, splits, out)
    code = predict_example(out)
    print(f"Checkpoint, metrics.json, parity.png and kernels.png are in {out}.")
    return code


def test(
    model: FLTModel, data: GraphDataModule
) -> tuple[dict[str, Any], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return errors by split and method, and labels with predictions by split."""
    # The first baselines to beat, whatever the model itself counts energies from.
    spec = data.targets[0]
    fit = fit_statistics(data.train, replace(spec, kind="property", extensive=True))
    reference = fit.element_reference
    mean = fit_statistics(data.train, replace(spec, extensive=False)).mean
    results, splits = {}, {}
    for name, dataset in data.test.items():
        labels, predictions = evaluate(model, dataset, mean, reference)
        rows = {way: errors(values, labels) for way, values in predictions.items()}
        results[name] = {"structures": len(labels)} | rows
        splits[name] = (labels, predictions["FLT"])
    return results, splits


def draw(
    model: FLTModel, splits: Mapping[str, tuple[np.ndarray, np.ndarray]], out: Path
) -> None:
    """Write ``parity.png``, a panel a split, and ``kernels.png``, a row a layer."""
    figure, axes = panels(len(splits), 2, DOUBLE, height=3.2)
    for ax, (name, (labels, predictions)) in zip(axes, splits.items(), strict=True):
        parity(ax, labels, predictions, name)
    save(figure, out / "parity.png")
    save(kernel_figure(head_kernels(model)), out / "kernels.png")


def evaluate(
    model: FLTModel, dataset: GraphDataset, mean: float, reference: Mapping[int, float]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the labels of a split, and the predictions of the model and of baselines.

    Args:
        model: The model.
        dataset: The split.
        mean: Mean label of the training set: the first baseline.
        reference: Contribution of an atom by atomic number, fitted to the training
            set: the second.
    """
    name = model.targets[0].name
    graphs = [dataset[index] for index in range(len(dataset))]
    linear = [sum(reference.get(z, 0.0) for z in graph.z.tolist()) for graph in graphs]
    return np.array([float(graph[name]) for graph in graphs]), {
        "FLT": predict_graphs(model, graphs)[name],
        "linear fit": np.array(linear),
        "mean": np.full(len(graphs), mean),
    }


def errors(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return MAE [eV] and EwT [%]."""
    metric = AbsoluteErrors()
    ids = [str(index) for index in range(len(labels))]
    metric.update(torch.from_numpy(predictions - labels), ids)
    values = metric.compute()
    return {"mae_eV": float(values["mae"]), "ewt_percent": float(values["ewt_percent"])}


def results_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the table of splits and methods."""
    table = Table("split", "structures", title="MAE, and share of errors below 0.02 eV")
    table.columns[1].justify = "right"
    for method in METHODS:
        table.add_column(method, justify="right")
    for split, row in results.items():
        cells = [
            f"{row[method]['mae_eV']:.3f} eV {row[method]['ewt_percent']:5.1f} %"
            for method in METHODS
        ]
        table.add_row(split, str(row["structures"]), *cells)
    return table


def predict_example(out: Path) -> int:
    """Build CO on copper with ASE, write it, and predict it as a user would."""
    structure, prediction = out / "structure.extxyz", out / "prediction.extxyz"
    slab = fcc111("Cu", (3, 3, 4), vacuum=9.0)
    add_adsorbate(slab, molecule("CO"), 1.9, "ontop", mol_index=1)
    slab.info = {}  # ASE's notes on adsorption sites do not fit into the file
    with atomic_path(structure) as temporary:
        ase.io.write(temporary, slab)
    print(f"molflt predict {out / 'demo.ckpt'} {structure} -o {prediction}")
    code = predict(out / "demo.ckpt", [str(structure)], prediction)
    predicted = ase.io.read(prediction)
    assert isinstance(predicted, Atoms)
    print(f"CO on Cu(111): {predicted.info['predicted_energy']:.3f} eV")
    return code
