"""QM9 U0 from 10,000 molecules in 8 CPU-minutes of training on one thread.

    python benchmarks/qm9_u0.py --root data/qm9 [--from-file qm9.zip]

The clock is `process_time` of the training loop. The learning rate follows a cosine of
the time that is left, so training ends with it. 2,000 test molecules, disjoint from
training and validation, are read once, at the end. Writes results/qm9_u0.json.
"""

import argparse
import math
import time
from typing import Any

import torch
from record import write_result
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch_geometric.data import Batch

from molflt.data import QM9
from molflt.data.statistics import fit_statistics
from molflt.model import FLTEncoder, FLTModel
from molflt.training.optimizers import adamw

HEADS = {
    "6 near + 2 far heads": {"num_near_heads": 6, "num_far_heads": 2},
    "8 near heads": {"num_near_heads": 8, "num_far_heads": 0},
}
WARMUP = 200  # steps


def train(
    model: FLTModel, data: QM9, seconds: float, lr: float
) -> tuple[FLTModel, dict[str, Any]]:
    """Train for `seconds` of CPU time; return the averaged model and what was done."""
    optimizer = adamw(model, lr, weight_decay=0.01)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    steps = molecules = epoch = 0
    start = time.process_time()
    elapsed = 0.0
    while elapsed < seconds:
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            elapsed = time.process_time() - start
            if elapsed >= seconds:
                break
            rate = lr * min(1, (steps + 1) / WARMUP)
            rate *= 0.5 * (1 + math.cos(math.pi * elapsed / seconds))
            for group in optimizer.param_groups:
                group["lr"] = rate
            step(model, optimizer, batch)
            average.update_parameters(model)
            steps += 1
            molecules += batch.num_graphs
            if steps % 500 == 0:
                print(f"step {steps}, {elapsed:.0f} s", flush=True)
        epoch += 1
    done = {
        "steps": steps,
        "epochs": molecules / len(data.train),
        "molecules_per_second": molecules / elapsed,
    }
    return average.module, done


def step(model: FLTModel, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """One step of AdamW on the mean absolute error of normalised energies."""
    labels = model.normalise("u0", batch.u0, batch)
    loss = (model.normalised(batch)["u0"] - labels).abs().mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()


@torch.no_grad()
def mean_absolute_error(model: FLTModel, loaders: list[Any]) -> float:
    """Return the MAE of U0 in meV."""
    model.eval()
    errors = [(model(b)["u0"] - b.u0).abs() for loader in loaders for b in loader]
    return 1000 * float(torch.cat(errors).mean())


def main() -> None:
    """Run both head groups one after the other and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default="data/qm9")
    parser.add_argument("--from-file")
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = QM9(
        arguments.root,
        "u0",
        from_file=arguments.from_file,
        split="random:0",
        num_train=10_000,
        num_val=1_000,
        num_test=2_000,
        batch_size=32,
        eval_batch_size=100,
        seed=arguments.seed,
    )
    data.prepare_data()
    data.setup()
    statistics = fit_statistics(data.train, data.targets[0])
    rows = []
    for name, heads in HEADS.items():
        torch.manual_seed(arguments.seed)
        model = FLTModel(FLTEncoder(width=128, num_layers=4, **heads), data.targets)
        model.set_statistics("u0", statistics.plain())
        trained, done = train(model, data, arguments.seconds, arguments.lr)
        row = {
            "model": f"FLT masked, vectors, {name}",
            "parameters": model.num_parameters,
            "val_mae_meV": mean_absolute_error(trained, data.val_dataloader()),
            "test_mae_meV": mean_absolute_error(trained, data.test_dataloader()),
            **done,
        }
        print(row, flush=True)
        rows.append(row)
    path = write_result(
        "qm9_u0",
        {
            "task": "QM9 U0"
            if 9 in statistics.elements
            else "QM9 U0, without fluorine",
            "train": len(data.train),
            "test": len(data.test["test"]),
            "cpu_seconds": arguments.seconds,
            "threads": 1,
            "batch_size": 32,
            "learning_rate": arguments.lr,
            "seed": arguments.seed,
            "linear_fit_rmse_eV": statistics.rmse,
            "rows": rows,
        },
    )
    print(path)


if __name__ == "__main__":
    main()
