"""Classes that are not molflt's: what checkpoints can hold of them, and what not."""

from inspect import Parameter, signature

from molflt.encoder import FLTEncoder
from molflt.errors import InputError, UsageError
from molflt.model import FLTModel
from molflt.readouts import readout_class


def foreign_encoder(encoder: type[FLTEncoder]) -> str:
    """Return the name of an encoder's class; empty if it is one of molflt's.

    These differ in where their weights come from, and are rebuilt as `FLTEncoder`.
    """
    inside = encoder.__module__.partition(".")[0] == __name__.partition(".")[0]
    return "" if inside else f"{encoder.__module__}.{encoder.__qualname__}"


def refuse_lost_options(encoder: FLTEncoder) -> None:
    """Refuse an encoder with options that a checkpoint would forget.

    Raises:
        UsageError: An argument of its class is not in its `config`.
    """
    made = type(encoder)
    if not foreign_encoder(made):
        return
    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    for option in signature(made).parameters.values():
        if option.kind in named and option.name not in encoder.config:
            raise UsageError(
                f"A checkpoint would forget the option {option.name!r} of "
                f"{made.__qualname__}: its __init__ has to put it into self.config, "
                "which the encoder is made from again."
            )


def class_to_load(encoder: FLTEncoder) -> type[FLTEncoder]:
    """Return what a checkpoint of an encoder is to be rebuilt as.

    Raises:
        UsageError: As `refuse_lost_options`.
    """
    refuse_lost_options(encoder)
    return type(encoder) if foreign_encoder(type(encoder)) else FLTEncoder


def refuse_foreign_readouts(model: FLTModel) -> None:
    """Refuse a model whose readouts are not those that its targets name.

    Raises:
        UsageError: Such a model cannot be rebuilt from a checkpoint.
    """
    for spec in model.targets:
        found, expected = type(model.readout(spec.name)), readout_class(spec)
        if found is not expected:
            raise UsageError(
                f"A checkpoint cannot hold the readout {found.__qualname__} of "
                f"{spec.name!r}: loading would make it {expected.__qualname__}; keep "
                "the model's state_dict() instead."
            )


def refuse_other_class(known: str, encoder: type[FLTEncoder], where: str) -> None:
    """Refuse to put the weights of one class of encoders into another.

    Args:
        known: Name of the class in the checkpoint, `foreign_encoder`.
        encoder: The class to be built.
        where: The checkpoint, for errors.

    Raises:
        InputError: They differ.
    """
    if known == (given := foreign_encoder(encoder)):
        return
    if known:
        raise InputError(
            f"{where} has an encoder of the class {known}, which is not molflt's; give "
            "it: molflt.load(path, encoder_class=...)."
        )
    raise InputError(f"{where} has an FLTEncoder, no {given}.")
