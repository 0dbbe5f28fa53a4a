"""Lightning's command line, with molflt's errors, loggers and checkpoints."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from molflt.checkpoint import load
from molflt.commands.config_errors import telling_part
from molflt.commands.config_parser import ConfigParser
from molflt.commands.messages import quiet
from molflt.commands.requeueing import own_root, remove_states, saved_states
from molflt.commands.tables import metrics_table, show
from molflt.commands.termination import Terminated
from molflt.data import EMTIS2RE, OC20IS2RE, QM9, RMD17, AtomsFiles
from molflt.data.datamodule import GraphDataModule
from molflt.errors import MolfltError, UsageError
from molflt.pretrained import NAMES
from molflt.training.best_checkpoint import BEST, BestCheckpoint
from molflt.training.callbacks import EMA, StopBetweenBatches, Throughput
from molflt.training.checkpoint_io import AtomicCheckpointIO, LastCheckpoint
from molflt.training.memory import keep_freed_memory
from molflt.training.pictures import RunPictures
from molflt.training.progress_bar import MetricsBar
from molflt.training.targets import refuse_other_meaning
from molflt.training.task import FLTTask

log = logging.getLogger(__name__)

DATA_SETS = (AtomsFiles, EMTIS2RE, OC20IS2RE, QM9, RMD17)
"""What ``--data`` may name without a path: only classes that are imported can be."""


class FLTCLI(LightningCLI):
    """``molflt fit|validate|test``: a task, a data module and a trainer from YAML.

    Args:
        words: Words after ``molflt``; with ``run=False`` without the command.
        run: Run the command; otherwise only build task, data and trainer.
        callbacks: More callbacks of the trainer.
    """

    trainer: Trainer
    model: FLTTask

    def __init__(
        self, words: list[str], run: bool = True, callbacks: Sequence[Callback] = ()
    ) -> None:
        quiet()
        # Not `save_last` of the best one: that is written only with a new best.
        self.last = LastCheckpoint()
        super().__init__(
            FLTTask,
            GraphDataModule,
            subclass_mode_data=True,
            parser_class=ConfigParser,
            trainer_defaults={
                "callbacks": [
                    self.last,
                    StopBetweenBatches(),
                    Throughput(),
                    RunPictures(),
                    *callbacks,
                ],
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
            },
            parser_kwargs={"prog": "molflt"},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=words,
            run=run,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the commands, with the arguments that come from the configuration."""
        return {
            "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"},
            "validate": {"model", "dataloaders", "datamodule"},
            "test": {"model", "dataloaders", "datamodule"},
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add where results go, averaging, and which checkpoint is the best."""
        parser.add_argument("--name", default="run", help="Results go to RUNS/NAME.")
        parser.add_argument("--runs", default="runs", help="Folder of all results.")
        parser.add_lightning_class_args(EMA, "ema")
        parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": BEST,
                "checkpoint.enable_version_counter": False,
                "checkpoint.auto_insert_metric_name": False,
            }
        )

    def _parse_ckpt_path(self) -> None:
        """Skip Lightning's search for hyperparameters: ours are in the model record."""

    def instantiate_classes(self) -> None:
        """Build encoder, task, data module and trainer.

        Raises:
            InputError: The data cannot be used.
            UsageError: An object refuses its options.
        """
        try:
            super().instantiate_classes()
        except (ValueError, TypeError) as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, MolfltError):
                cause = cause.__cause__ or cause.__context__
            words = telling_part(str(error)) or str(error)
            raise (cause or UsageError(words)) from error
        # A number by now; None and False: nothing is seeded.
        self.datamodule.run_seed = int(self._get(self.config, "seed_everything") or 0)

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Return the trainer, with CSV and TensorBoard logs in one folder.

        Slurm's requeueing saves a state in the trainer's root, and Lightning loads it
        in what runs there next: names, jobs and evaluations have roots of their own.
        """
        config = self._get(self.config_init, "trainer")
        if config["enable_progress_bar"] is not False:
            given = config["callbacks"] or []
            given = given if isinstance(given, list) else [given]
            config["callbacks"] = [*given, MetricsBar()]
        folder, name = (self._get(self.config, key) for key in ("runs", "name"))
        # Versions of NAME are trainings: errors of a checkpoint are none of them.
        evaluates = self.subcommand in ("validate", "test")
        where = f"{name}/{self.subcommand}" if evaluates else name
        if evaluates or config["default_root_dir"] is None:
            config["default_root_dir"] = str(own_root(Path(folder, where)))
        if config["logger"] is None and not config["fast_dev_run"]:
            if not name or Path(name).is_absolute() or ".." in Path(name).parts:
                what = f"--name {name!r} is no name of a folder in {folder}"
                raise UsageError(f"{what}; --runs says where results go.")
            csv = CSVLogger(folder, where)
            board = TensorBoardLogger(folder, where, version=f"version_{csv.version}")
            options["logger"] = [csv, board]
        elif not config["logger"]:
            self.save_config_callback = None  # there is no folder to save it to
        if config["enable_checkpointing"] is False:
            # Callbacks that save would contradict it.
            self._parser(self.subcommand).callback_keys.remove("checkpoint")
            self.trainer_defaults["callbacks"].remove(self.last)
        options["plugins"] = [*(config["plugins"] or []), AtomicCheckpointIO()]
        return super().instantiate_trainer(**options)

    def fit(
        self,
        model: FLTTask,
        datamodule: GraphDataModule,
        ckpt_path: str | None = None,
        **options: Any,
    ) -> None:
        """Train; with `ckpt_path` go on exactly where that run stopped.

        Requeued by Slurm, it goes on where it was taken away, whatever it began with.
        """
        # What can fail at once shall fail before folders are made for the results.
        if self.trainer.max_epochs == -1 and self.trainer.max_steps == -1:
            raise UsageError("Training needs an end: trainer.max_epochs or max_steps.")
        if ckpt_path in NAMES:
            raise UsageError(
                f"--ckpt_path goes on with an interrupted run; {ckpt_path} is none; "
                "configs/finetune.yaml starts from its weights "
                "(model.encoder.init_args.checkpoint)."
            )
        states = saved_states(self.trainer.default_root_dir)
        start = str(states[-1]) if states else ckpt_path
        if start is not None:
            model.resume_from(start)
        if states:
            log.info("Requeued: going on from %s.", start)
        if self.trainer.world_size == 1:
            datamodule.setup("fit")
        train(self, ckpt_path=start, **options)
        remove_states(self.trainer.default_root_dir)
        # Not by what is in `model`: other processes may have trained theirs.
        trained = "train/loss" in self.trainer.callback_metrics
        if start is not None and not states and not trained:
            raise UsageError(
                f"{start} is at the end of its training; raise trainer.max_epochs, "
                "max_steps or max_time (of the whole run) to go on."
            )
        last = Path(self.last.dirpath or "") / "last.ckpt"
        if not self._show_metrics("last epoch") and last.is_file():
            log.info(
                "Validation comes every %s steps, and this run ended before; its last "
                "state is %s.",
                *(f"{self.trainer.val_check_batch:,.0f}", last),
            )
        best = self.trainer.checkpoint_callback
        if isinstance(best, BestCheckpoint) and best.best_model_path:
            how = f"Best by {best.monitor}" if best.monitor else "Last of all"
            log.info("%s: %s", how, best.best_model_path)

    def validate(self, model: FLTTask, **options: Any) -> None:
        """Evaluate a checkpoint on the validation splits."""
        self._evaluate(self.trainer.validate, model, **options)

    def test(self, model: FLTTask, **options: Any) -> None:
        """Evaluate a checkpoint on the test splits."""
        self._evaluate(self.trainer.test, model, **options)

    def _evaluate(
        self, run: Any, model: FLTTask, ckpt_path: str | None = None, **options: Any
    ) -> None:
        if ckpt_path is None:
            raise UsageError(f"molflt {self.subcommand} needs --ckpt_path.")
        model.model = load(ckpt_path, encoder_class=model.encoder_class)
        data: GraphDataModule = options["datamodule"]
        data.setup()
        for spec in data.targets:
            what = f"{ckpt_path} cannot be evaluated on these data"
            refuse_other_meaning(model.model.targets, spec, what)
        if self.subcommand == "test" and not data.test:
            raise UsageError("This data set has no test split; see molflt validate.")
        run(model, ckpt_path=None, **options | {"verbose": False})
        self._show_metrics(ckpt_path)

    def _show_metrics(self, head: str) -> bool:
        """Print the errors of all splits; return whether there are any."""
        metrics = self.trainer.callback_metrics
        table = metrics_table({name: float(v) for name, v in metrics.items()})
        if table.row_count and self.trainer.is_global_zero:
            print(head)
            show(table)
        elif self.trainer.is_global_zero:
            print("There was no validation, so no errors to show.")
        return bool(table.row_count)


def train(cli: FLTCLI, **options: Any) -> None:
    """Run ``trainer.fit`` on what `cli` has built.

    Raises:
        KeyboardInterrupt: After Ctrl-C or SIGTERM, saying where the last state is.
        MolfltError: The run is refused. Before its first step either leaves no folder.
    """
    if isinstance(cli.trainer.accelerator, CPUAccelerator):
        keep_freed_memory()
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, **options)
    except (SystemExit, SIGTERMException) as error:  # SystemExit: after Ctrl-C
        last = Path(cli.last.dirpath or "") / "last.ckpt"
        hint = f" Go on with --ckpt_path {last}." if last.is_file() else ""
        signalled = isinstance(error, SIGTERMException)
        kind = Terminated if signalled else KeyboardInterrupt
        _remove_unused(cli.trainer)
        raise kind(f"Interrupted.{hint}") from error
    except MolfltError:
        _remove_unused(cli.trainer)
        raise


def _remove_unused(trainer: Trainer) -> None:
    """Remove the folder of a run if there is nothing in it but how it was to begin."""
    if trainer.global_step or not trainer.is_global_zero:
        return
    for logger in trainer.loggers:
        logger.finalize("failed")
    # Not `trainer.log_dir`, which asks other processes, that may have ended.
    place = next((logger.log_dir for logger in trainer.loggers), None)
    if place is None:
        return
    folder = Path(place)
    found = list(folder.glob("*"))
    known = re.compile(r"config\.yaml|hparams\.yaml|events\.out\.tfevents\..*")
    if found and all(known.fullmatch(path.name) for path in found):
        for path in found:
            path.unlink()
        folder.rmdir()
