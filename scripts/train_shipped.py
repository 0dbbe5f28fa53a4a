"""Train the two small models that travel in the package, from nothing.

    python scripts/train_shipped.py --out molflt/pretrained

1. ``emt_is2re.ckpt``: adsorption energies after relaxation from initial structures, on
   the shipped sample (configs/emt.yaml).
2. ``emt_forces.ckpt``: a force field, on frames of relaxations with EMT, which are
   generated first (seed 0; a fraction of a second a system).

Both are named as what they are: models of ASE's EMT, no chemistry. Written are model
records without the state of the training, each with its validation errors in `extra`;
together they must not exceed 5 MB. Everything else stays in the folder --work, so that
an interrupted run finds its data again. Hours on two cores; --epochs makes it shorter.
"""

import argparse
from pathlib import Path

from molflt.checkpoint import load, save_model
from molflt.commands.lightning import FLTCLI, train
from molflt.data.emt import EMTIS2RE
from molflt.data.emt_generate import generate
from molflt.version import __version__

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 5_000_000  # bytes, both together


def main(words: list[str] | None = None) -> None:
    """Train both, write both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the two checkpoints")
    add("--work", type=Path, default=Path("shipped"), help="folder of all the rest")
    add("--epochs", type=int, default=60)
    add("--systems", type=int, default=2000, help="relaxations with frames")
    add("--workers", type=int, default=2, help="processes that generate them")
    add("--width", type=int, default=96, help="channels of both models")
    add("--layers", type=int, default=3)
    add("--root", type=Path, help="folder of the sample; default: the shipped one")
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    options.work.mkdir(parents=True, exist_ok=True)

    sample = [] if options.root is None else [f"--data.init_args.root={options.root}"]
    made = [fit("emt_is2re", sample, options)]
    frames = options.work / "frames"
    if not (frames / "frames_train.lmdb").is_file():
        generate(frames, options.systems, workers=options.workers, frames=True)
    force_field = [
        f"--data.init_args.root={frames}",
        "--data.init_args.frames=true",
        "--model.tag_weighted_readout=false",
        "--model.force_weight=5.0",
        "--checkpoint.monitor=val_id/energy/force_mae_eV_per_A",
    ]
    made.append(fit("emt_forces", force_field, options))
    total = sum(path.stat().st_size for path in made)
    print(f"{', '.join(map(str, made))}: {total / 1e6:.2f} MB")
    if total > LARGEST:
        raise SystemExit(f"They are larger than {LARGEST / 1e6:g} MB together.")


def fit(name: str, words: list[str], options: argparse.Namespace) -> Path:
    """Train one model; write the best one and its validation errors."""
    encoder = "--model.encoder.init_args"
    cli = FLTCLI(
        [
            *("--config", str(ROOT / "configs" / "emt.yaml")),
            *(f"--name={name}", f"--runs={options.work}"),
            *(
                f"{encoder}.width={options.width}",
                f"{encoder}.num_layers={options.layers}",
            ),
            f"{encoder}.vector_width={options.width // 2}",
            f"--trainer.max_epochs={options.epochs}",
            *words,
        ],
        run=False,
    )
    assert isinstance(cli.datamodule, EMTIS2RE)
    train(cli)
    best = cli.trainer.checkpoint_callback.best_model_path
    model = load(best)
    errors = {
        k: float(v) for k, v in cli.trainer.callback_metrics.items() if "val" in k
    }
    path = options.out / f"{name}.ckpt"
    extra = {"name": name, "version": __version__, "last_epoch": errors}
    save_model(model, path, extra | {"epochs": options.epochs})
    return path


if __name__ == "__main__":
    main()
