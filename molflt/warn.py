"""Warnings that point at the line of the user, whatever lies between."""

import inspect
import warnings

_PACKAGES = ("molflt", "ase", "torch")


def warn(sentence: str) -> None:
    """Warn, as of the nearest line outside of molflt and of what it was called by.

    Python shows a warning once for each line: of one inside the package, the second
    calculator's would not be seen.
    """
    level, frame = 1, inspect.currentframe()
    while frame is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, UserWarning, stacklevel=level)


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in _PACKAGES
