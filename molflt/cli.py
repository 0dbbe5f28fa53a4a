"""The command line: finds the command, turns errors into one sentence and a code.

Modules of commands are imported only when their command is called: ``molflt --help``
answers without loading torch.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from molflt.commands.parser import Parser
from molflt.commands.termination import Terminated
from molflt.errors import MolfltError, UsageError
from molflt.version import __version__

COMMANDS = {
    "demo": "train on the shipped sample, test, predict: the main job end to end",
    "fit": "train a model from a configuration",
    "validate": "evaluate a checkpoint on the validation splits of a data set",
    "test": "evaluate a checkpoint on the test splits of a data set",
    "predict": "predict for structure files with a checkpoint",
    "relax": "relax structures with the forces of a checkpoint",
    "info": "print what a checkpoint says of itself",
    "inspect": "write one HTML page on what a model makes of a structure",
    "compare": "print and draw the errors of several training runs",
    "data": "make, convert, check or describe a data set",
    "submission": "write a leaderboard file for the four OC20 IS2RE test splits",
}
_LIGHTNING = ("fit", "validate", "test")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a process ended by SIGINT."""

TERMINATED = 143
"""Exit code where a command ended in good order after SIGTERM."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: Words after ``molflt``; None: of this process.

    Returns:
        0 on success, 1 for bad input or another failure, 2 for bad usage, 130 after
        Ctrl-C, 143 where a command has ended in good order after SIGTERM. Every
        failure prints one sentence on stderr; ``--debug``, anywhere among the words,
        prints the traceback too.
    """
    _silence_libraries()
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _run(words)
    except SystemExit as exit_:  # argparse after --help or --version
        return exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        sentence, code = _explain(error)
        print(f"molflt: {sentence}", file=sys.stderr)
        return code


def _silence_libraries() -> None:
    """Hide what libraries tell their developers: users of a command cannot change it.

    Not where Python is told what to do with warnings (-W, PYTHONWARNINGS).
    """
    if sys.warnoptions:
        return
    libraries = r"(torch|torch_geometric|torchmetrics|pytorch_lightning)(\.|$)"
    for kind in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=kind, module=libraries)


def _run(words: list[str]) -> int:
    parser = Parser(
        prog="molflt",
        description="FourierLearner-Transformers for 3D molecules and materials.",
        epilog="molflt COMMAND --help explains a command. --debug, anywhere, prints "
        "the traceback of an error.",
    )
    parser.add_argument("--version", action="version", version=f"molflt {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    command = parser.parse_args(words[:1]).command
    if command in _LIGHTNING:
        return int(import_module("molflt.commands.train").main(words))
    return int(import_module(f"molflt.commands.{command}").main(words[1:]))


def _explain(error: BaseException) -> tuple[str, int]:
    """Return one sentence about an error, and the exit code."""
    sentence = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        code = TERMINATED if isinstance(error, Terminated) else INTERRUPTED
        return sentence or "Interrupted.", code
    if isinstance(error, UsageError):
        return sentence, 2
    if isinstance(error, MolfltError):
        return sentence, 1
    kind = type(error).__name__
    if kind == "MisconfigurationException":  # Lightning's word for wrong options
        return sentence, 2
    if kind == "OutOfMemoryError":
        return "The device's memory is full; try a smaller batch size.", 1
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"Cannot use{where or ' a file'}: {error.strerror}.", 1
    return f"{kind}: {sentence} (--debug shows where.)", 1


if __name__ == "__main__":
    sys.exit(main())
