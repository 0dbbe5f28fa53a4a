"""molflt: FourierLearner-Transformers for molecules and materials in three dimensions.

Names are imported when they are first used, so that `import molflt` and
`molflt --help` do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from molflt.version import __version__

if TYPE_CHECKING:
    from molflt.calculator import FLTCalculator
    from molflt.checkpoint import load, save_model
    from molflt.model import FLTEncoder, FLTModel
    from molflt.targets import TargetSpec

_HOME = {
    "FLTCalculator": "molflt.calculator",
    "FLTEncoder": "molflt.model",
    "FLTModel": "molflt.model",
    "TargetSpec": "molflt.targets",
    "load": "molflt.checkpoint",
    "save_model": "molflt.checkpoint",
}

__all__ = [
    "FLTCalculator",
    "FLTEncoder",
    "FLTModel",
    "TargetSpec",
    "__version__",
    "load",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'molflt' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
