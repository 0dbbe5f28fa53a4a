"""Parts of a model that a checkpoint would lose, as loading makes the usual ones."""

import torch
from torch import nn

from molflt.encoder_options import effective
from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.own_classes import class_to_load

INSTEAD = "keep the model's state_dict() instead"


def refuse_replaced_parts(model: FLTModel) -> None:
    """Refuse a model that is not what loading would make of its options.

    Compared are the classes and settings of all modules, and names and shapes of all
    that is in the state. Hooks are no parts: those that watch may come and go.

    Raises:
        UsageError: Names the first module, or array, that differs.
    """
    for name, module in (("the model", model), ("the encoder", model.encoder)):
        if "forward" in vars(module):
            raise UsageError(
                f"A checkpoint cannot hold a forward that {name} alone has; {INSTEAD}."
            )
    if type(model) is not FLTModel:
        raise UsageError(
            f"A checkpoint cannot hold the model {_class(model)}: loading would make "
            f"it FLTModel; {INSTEAD}."
        )
    usual = _rebuilt(model)
    expected, found = dict(usual.named_modules()), dict(model.named_modules())
    for name, module in found.items():
        if name in ("", "encoder"):  # whose classes are looked at elsewhere
            continue
        if name not in expected:
            raise UsageError(
                f"A checkpoint cannot hold {name} ({_class(module)}), which loading "
                f"would leave out; {INSTEAD}."
            )
        if (now := _kind(module)) != (then := _kind(expected[name])):
            raise UsageError(
                f"A checkpoint cannot hold {name}, which is {now}: loading would make "
                f"it {then}; {INSTEAD}."
            )
    if gone := [name for name in expected if name not in found]:
        raise UsageError(
            f"A checkpoint cannot do without {gone[0]} ({_class(expected[gone[0]])}), "
            f"which loading would make anew; {INSTEAD}."
        )
    shapes, usual_shapes = _shapes(model), _shapes(usual)
    for name in [*shapes, *usual_shapes]:
        if shapes.get(name) != usual_shapes.get(name):
            raise UsageError(
                f"A checkpoint cannot hold {name}, which has "
                f"{_shape(shapes.get(name))} and would be loaded into "
                f"{_shape(usual_shapes.get(name))}; {INSTEAD}."
            )


def _rebuilt(model: FLTModel) -> FLTModel:
    """Return what loading makes, with weights of chance; others draw what they did.

    Raises:
        UsageError: The encoder cannot be made from its `config`.
    """
    made = class_to_load(model.encoder)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        try:
            encoder = made(**effective(model.encoder.config))
            return FLTModel(encoder, model.targets)
        except (TypeError, ValueError, RuntimeError, KeyError) as error:
            raise UsageError(
                f"A checkpoint could not be loaded, as {made.__qualname__}(**config) "
                f"fails ({' '.join(str(error).split())[:200]}); self.config has to be "
                "what its __init__ takes."
            ) from error


def _class(module: nn.Module) -> str:
    return type(module).__qualname__


def _kind(module: nn.Module) -> str:
    """Return what a module is: its class, with the settings that torch's tell."""
    if "forward" in vars(module):
        return f"{_class(module)} with a forward of its own"
    own = type(module).__module__
    if own.partition(".")[0] == "torch":
        return f"{_class(module)}({module.extra_repr()})"
    inside = own.partition(".")[0] == __name__.partition(".")[0]
    return _class(module) if inside else f"{own}.{_class(module)}"


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of what a state has, by name."""
    return {name: value.shape for name, value in model.state_dict().items()}


def _shape(shape: torch.Size | None) -> str:
    return "no place" if shape is None else f"the shape {tuple(shape)}"
