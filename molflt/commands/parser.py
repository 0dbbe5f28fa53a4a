"""One parser for all commands: errors are one sentence with a suggestion."""

import argparse
import difflib
import math
import re
from collections.abc import Iterable
from typing import NoReturn

from molflt.errors import UsageError
from molflt.frames import one_frame

_LARGEST = 10**9  # of a count; beyond it are only slips, and overflows


class Parser(argparse.ArgumentParser):
    """`argparse`'s parser, raising `UsageError` where that prints usage and exits.

    Abbreviated options are refused: a new option must not change what an old script
    means.
    """

    def __init__(self, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", _Formatter)
        super().__init__(**options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the message, a suggestion, and where to look."""
        choice = r"invalid choice: '([^']*)' \(choose from (.*)\)"
        if found := re.search(r"unrecognized arguments: (\S+)", message):
            hint = suggestion(found[1], self._option_string_actions)
            message = f"there is no option {found[1]}{hint}"
        elif found := re.search(choice, message):
            choices = [word.strip(" '") for word in found[2].split(",")]
            hint = suggestion(found[1], choices)
            message = f"there is no '{found[1]}'{hint}; known: {', '.join(choices)}"
        message = message[0].upper() + message[1:]
        raise UsageError(f"{message}; see {self.prog} --help.")


class _Formatter(argparse.HelpFormatter):
    """Help with defaults, as far as they say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = (None, False, argparse.SUPPRESS)
        if action.help and action.option_strings and action.default not in silent:
            return f"{action.help} (default: %(default)s)"
        return action.help


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean X?)"`` for the known word nearest to `word`, or ""."""
    close = difflib.get_close_matches(word.split("=")[0], list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def positive(text: str) -> int:
    """Return a whole number from 1 to 10^9, for `type` of an argument."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    if value > _LARGEST:
        raise argparse.ArgumentTypeError(f"must be at most {_LARGEST:,}")
    return value


def positive_number(text: str) -> float:
    """Return a number above 0, for `type` of an argument."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {value}")
    return value


def finite_number(text: str) -> float:
    """Return a number that is not infinite, for `type` of an argument."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, not {value}")
    return value


def frames_of(text: str) -> slice:
    """Return which frames ``I``, ``I:J`` or ``I:J:K`` means, for `type` of an argument.

    Numbers below 0 count from the end.
    """
    wrong = argparse.ArgumentTypeError(f"must be I, I:J or I:J:K, not {text!r}")
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
    except ValueError as error:
        raise wrong from error
    first = parts[0]
    if len(parts) > 3 or (len(parts) == 1 and first is None):
        raise wrong
    if len(parts) == 3 and parts[2] == 0:
        raise argparse.ArgumentTypeError("cannot take every 0th frame")
    if len(parts) == 1 and first is not None:
        return one_frame(first)
    return slice(*parts)
