"""Lightning's command line, with molflt's errors, loggers and checkpoints."""

import inspect
import logging
import re
import warnings
from typing import Any, NoReturn

from pytorch_lightning import LightningDataModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from molflt.checkpoint import load
from molflt.commands.parser import suggestion
from molflt.data.datamodule import GraphDataModule
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder
from molflt.training.callbacks import EMA, StopBetweenBatches, Throughput
from molflt.training.checkpoint_io import AtomicCheckpointIO
from molflt.training.task import FLTTask


class ConfigParser(LightningArgumentParser):
    """Parser of configurations whose errors are one sentence."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what `message` is about as a sentence.

        Raises:
            InputError: The configuration file cannot be read.
            UsageError: A key or a value is wrong.
        """
        if missing := re.search(r"File does not exist: '(.*)'", message):
            raise InputError(f"No such file: {missing[1]}.")
        raise UsageError(_sentence(message, self))


class FLTCLI(LightningCLI):
    """``molflt fit|validate|test``: a task, a data module and a trainer from YAML.

    Args:
        words: Words after ``molflt``; with ``run=False`` without the command.
        run: Run the command; otherwise only build task, data and trainer.
    """

    trainer: Trainer
    model: FLTTask

    def __init__(self, words: list[str], run: bool = True) -> None:
        quiet()
        # Not `save_last` of the best one: that is written only with a new best.
        self._last = ModelCheckpoint(
            filename="last", enable_version_counter=False, save_on_exception=True
        )
        super().__init__(
            FLTTask,
            LightningDataModule,
            subclass_mode_data=True,
            parser_class=ConfigParser,
            trainer_defaults={
                "callbacks": [self._last, StopBetweenBatches(), Throughput()],
                "num_sanity_val_steps": 0,
            },
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
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.enable_version_counter": False,
                "checkpoint.auto_insert_metric_name": False,
            }
        )

    def _parse_ckpt_path(self) -> None:
        """Skip Lightning's search for hyperparameters: ours are in the model record."""

    def instantiate_classes(self) -> None:
        """Build encoder, task, data module and trainer.

        Raises:
            UsageError: One of them refuses its options.
        """
        try:
            super().instantiate_classes()
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Return the trainer, with CSV and TensorBoard logs in one folder."""
        config = self._get(self.config_init, "trainer")
        if config["logger"] is None and not config["fast_dev_run"]:
            folder, name = (self._get(self.config, key) for key in ("runs", "name"))
            csv = CSVLogger(folder, name)
            board = TensorBoardLogger(folder, name, version=f"version_{csv.version}")
            options["logger"] = [csv, board]
        elif not config["logger"]:
            self.save_config_callback = None  # there is no folder to save it to
        options["plugins"] = [*(config["plugins"] or []), AtomicCheckpointIO()]
        return super().instantiate_trainer(**options)

    def fit(
        self,
        model: FLTTask,
        datamodule: LightningDataModule,
        ckpt_path: str | None = None,
        **options: Any,
    ) -> None:
        """Train; with `ckpt_path` go on exactly where that run stopped."""
        if ckpt_path is not None:
            model.resume_from(ckpt_path)
        try:
            self.trainer.fit(
                model, datamodule=datamodule, ckpt_path=ckpt_path, **options
            )
        except SystemExit as exit_:  # Lightning's answer to Ctrl-C
            last = self._last.best_model_path or self._last.last_model_path
            hint = f" Go on with --ckpt_path {last}." if last else ""
            raise KeyboardInterrupt(f"Interrupted.{hint}") from exit_

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
        model.model = load(ckpt_path)
        run(model, ckpt_path=None, **options)


def quiet() -> None:
    """Silence what Lightning says about itself; its warnings about results stay."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "LightningCLI's args parameter",
        "The '.*dataloader' does not have many workers",
        "The number of training batches",
        "You're using the WeightAveraging callback with a model that overrides",
        "The dirpath has changed from",
        "Checkpoint directory .* exists and is not empty",
        "Experiment logs directory .* exists",
        # The data module goes on where the run stopped, see GraphDataModule.resume_at.
        "You're resuming from a checkpoint that ended before the epoch ended",
        ".*treespec, LeafSpec",
        "It is recommended to use `self.log",
    ):
        warnings.filterwarnings("ignore", message)


def _sentence(message: str, parser: LightningArgumentParser) -> str:
    """Return the gist of jsonargparse's many lines."""
    if unknown := re.search(
        r"(?:accept(?:ed)?:? .*option|Option) '([^']+)'|arguments: --(\S+)", message
    ):
        name = (unknown[1] or unknown[2]).split("=")[0]
        return f"There is no option '{name}'{_nearest(name, parser)}."
    if key := re.search(r'^Parser key "([^"]+)":', message):
        reason = re.search(r"Problem with given class_path '.*?':\s*(.+)", message)
        value = re.search(r"(?:Given value|Got value): (.*)", message)
        if reason:
            return f"Option {key[1]}: {reason[1].strip()}."
        types = re.findall(r"Expected an? <class '([\w.]+)'>", message)
        if value and types:
            kinds = " or ".join(kind for kind in types if kind != "NoneType")
            return f"Option {key[1]} must be {kinds}, not '{value[1]}'."
    return " ".join(message.split())


def _nearest(name: str, parser: LightningArgumentParser) -> str:
    known = {str(key) for key in parser.get_defaults().keys()}  # noqa: SIM118
    hint = suggestion(name, known)
    if hint:
        return hint
    last = name.rpartition(".")[2]
    classes = [FLTEncoder, Trainer, ModelCheckpoint, *GraphDataModule.__subclasses__()]
    parameters = {name for cls in classes for name in inspect.signature(cls).parameters}
    return suggestion(last, parameters)
