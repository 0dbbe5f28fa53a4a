"""Errors a user can act on; each message is one sentence naming file, row or option."""


class MolfltError(Exception):
    """Base of the errors that `molflt` prints as one sentence, without a traceback."""


class InputError(MolfltError, ValueError):
    """A file, record or structure cannot be used; the command line exits with 1."""


class UsageError(MolfltError, ValueError):
    """An option or a combination of options is wrong; the command line exits with 2."""


def prefix_of(where: str) -> str:
    """Return how a sentence begins that is about a place, which may be unknown: ""."""
    return f"{where}: " if where else ""
