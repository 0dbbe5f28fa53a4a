"""What molflt uses of other packages without a promise of theirs is as it was.

An upgrade that changes it fails here, with the file of molflt that has to follow.
"""

import argparse
import ast
import inspect

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, WeightAveraging
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.demos.boring_classes import BoringModel
from torch import nn

from tests.running import ROOT

PACKAGE = ROOT / "molflt"
CHECKPOINTS, CALLBACKS = "training/checkpoint_io.py", "training/callbacks.py"
COMMANDS, CONFIGS = "commands/lightning.py", "commands/config_parser.py"
PARSER, READOUT = "commands/parser.py", "nn/readout/base.py"
HOOKS = "nn/plain.py"
# Who has it, its name, what molflt calls it or is called with, where.
METHODS = [
    (ModelCheckpoint, "_should_skip_saving_checkpoint", ("trainer",), CHECKPOINTS),
    (ModelCheckpoint, "_monitor_candidates", ("trainer",), CHECKPOINTS),
    (ModelCheckpoint, "_save_topk_checkpoint", ("trainer", {}), CHECKPOINTS),
    (WeightAveraging, "_swap_models", ("module",), CALLBACKS),
    (LightningCLI, "_get", ({}, "trainer"), COMMANDS),
    (LightningCLI, "_parser", ("fit",), COMMANDS),
    (LightningCLI, "_parse_ckpt_path", (), COMMANDS),
    (LightningArgumentParser, "parse_path", ("config.yaml",), CONFIGS),
    (LightningArgumentParser, "error", ("message", ValueError()), CONFIGS),
    (argparse.HelpFormatter, "_get_help_string", ("action",), PARSER),
    (nn.Module, "_apply", (torch.detach, True), READOUT),
]
# Other private names of other packages; each has a test below.
ATTRIBUTES = {
    "_average_model": CALLBACKS,
    "_actions": CONFIGS,
    "_option_string_actions": PARSER,
    "_forward_hooks": HOOKS,
    "_forward_pre_hooks": HOOKS,
    "_buffers": READOUT,
    "_foreach_lerp_": "training/averaging.py",
}
DOCUMENTED = {"_replace", "_asdict", "_fields", "_exit"}  # of named tuples, of os


@pytest.mark.parametrize(
    ("owner", "name", "given", "where"), METHODS, ids=[row[1] for row in METHODS]
)
def test_methods_can_be_called_as_molflt_does(owner, name, given, where):
    method = getattr(owner, name, None)
    assert callable(method), f"{owner.__name__} has no {name}: see molflt/{where}"
    try:
        inspect.signature(method).bind("self", *given)
    except TypeError as error:
        pytest.fail(f"{owner.__name__}.{name}: {error}; see molflt/{where}")


def test_every_private_name_of_others_is_listed():
    used, own = {}, set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute):
                if isinstance(node.ctx, ast.Store):
                    own.add(node.attr)
                elif node.attr.startswith("_") and not node.attr.startswith("__"):
                    used.setdefault(node.attr, set()).add(str(path))
    listed = {*ATTRIBUTES, *DOCUMENTED, *(name for _, name, *_ in METHODS)}
    for name in used.keys() - own - listed:
        pytest.fail(f"{name} in {used[name]} is private to others: list it here")
    assert used.keys() >= ATTRIBUTES.keys(), "what is not used needs no guard"


def test_hooks_of_a_module_are_seen():
    for register, registry in (
        (nn.Module.register_forward_hook, "_forward_hooks"),
        (nn.Module.register_forward_pre_hook, "_forward_pre_hooks"),
    ):
        module = nn.Linear(1, 1)
        assert not getattr(module, registry), said(registry)
        handle = register(module, lambda *_: None)
        assert getattr(module, registry), said(registry)
        handle.remove()
        assert not getattr(module, registry), said(registry)


def test_modules_move_by_apply_and_keep_buffers_by_name():
    class Watched(nn.Module):
        def _apply(self, fn, recurse=True):
            called.append(fn)
            return super()._apply(fn, recurse)

    called = []
    module = Watched()
    module.register_buffer("one", torch.ones(1))
    module.register_buffer("none", None)
    nn.Sequential(module).double()
    assert len(called) == 1, "a module moves its parts by _apply: see molflt/" + READOUT
    assert module._buffers.keys() == {"one", "none"}, said("_buffers")
    assert module._buffers["one"].dtype == torch.float64
    module._buffers["one"] = torch.zeros(2)
    assert torch.equal(module.one, torch.zeros(2)), said("_buffers")


def test_tensors_move_towards_others_together():
    average, current = [torch.zeros(2), torch.ones(1)], [torch.ones(2), torch.zeros(1)]
    torch._foreach_lerp_(average, current, 0.25)
    assert [each.tolist() for each in average] == [[0.25, 0.25], [0.75]], said(
        "_foreach_lerp_"
    )


def test_validation_uses_the_average_that_is_there():
    class Watched(WeightAveraging):
        def _swap_models(self, module):
            swapped.append(module)

    swapped, module = [], nn.Linear(1, 1)
    callback = Watched()
    assert callback._average_model is None, said("_average_model")
    callback.on_validation_epoch_start(None, module)
    assert not swapped
    callback._average_model = torch.optim.swa_utils.AveragedModel(module)
    callback.on_validation_epoch_start(None, module)
    callback.on_validation_epoch_end(None, module)
    assert swapped == [module, module], "see EMA in molflt/" + CALLBACKS


def test_parsers_know_their_options_and_commands():
    class Formatter(argparse.HelpFormatter):
        def _get_help_string(self, action):
            return "words of ours"

    parser = argparse.ArgumentParser(formatter_class=Formatter)
    parser.add_argument("--size", "-s", help="words of argparse")
    assert {"--size", "-s"} <= set(parser._option_string_actions), said(
        "_option_string_actions"
    )
    assert "words of ours" in parser.format_help(), f"see molflt/{PARSER}"
    command = parser.add_subparsers().add_parser("fit")
    (choices,) = [a.choices for a in parser._actions if isinstance(a.choices, dict)]
    assert choices == {"fit": command}, said("_actions")


def test_lightnings_command_line_is_built_in_the_known_order():
    class Command(LightningCLI):
        parsed = False

        def _parse_ckpt_path(self):
            Command.parsed = True

        def add_arguments_to_parser(self, parser):
            parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")

    where = f"see molflt/{COMMANDS}"
    words = ["--trainer.logger=false", "--trainer.enable_progress_bar=false"]
    command = Command(
        BoringModel,
        save_config_callback=None,
        seed_everything_default=0,
        trainer_defaults={"accelerator": "cpu"},
        run=False,
        args=words,
    )
    assert Command.parsed, where
    trainer = command._get(command.config_init, "trainer")
    for name in ("logger", "callbacks", "plugins", "fast_dev_run"):
        assert name in trainer, where
    assert command._parser(None).callback_keys == ["checkpoint"], where


class Watch(Callback):
    """Which batches of an epoch Lightning calls the last."""

    def __init__(self):
        self.last = []

    def on_train_batch_end(self, trainer, *_):
        progress = trainer.fit_loop.epoch_loop.batch_progress
        self.last.append(progress.is_last_batch)


def test_lightning_counts_batches_and_epochs_as_resuming_expects(tmp_path):
    watch = Watch()
    off = ["logger", "enable_progress_bar", "enable_model_summary"]
    trainer = Trainer(
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=0,
        accelerator="cpu",
        enable_checkpointing=False,
        callbacks=[watch],
        **dict.fromkeys(off, False),
    )
    trainer.fit(BoringModel())
    assert watch.last == [False, True], f"see molflt/{CALLBACKS}"
    path = tmp_path / "some.ckpt"
    trainer.save_checkpoint(path)
    loops = torch.load(path, weights_only=True)["loops"]["fit_loop"]
    counts = {"ready": 1, "started": 1, "processed": 1, "completed": 1}
    where = "see molflt/training/resuming.py"
    assert set(loops["epoch_progress"]) == {"total", "current"}, where
    assert loops["epoch_progress"]["current"] == counts, where
    batches = loops["epoch_loop.batch_progress"]
    assert batches["is_last_batch"], where
    assert batches["current"] == dict.fromkeys(counts, 2), where


def said(name: str) -> str:
    """What to do about an attribute that is not as it was."""
    where = ATTRIBUTES[name]
    files = where if isinstance(where, str) else " and molflt/".join(where)
    return f"{name} is not what it was: see molflt/{files}"
