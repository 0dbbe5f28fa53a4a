"""Which readout a target asks for."""

from collections.abc import Sequence
from inspect import signature

from torch import nn

from molflt.errors import UsageError
from molflt.nn.readout.adsorbate import AdsorbateReadout
from molflt.nn.readout.attention import AttentionReadout
from molflt.nn.readout.base import AtomReadout, Readout
from molflt.nn.readout.dipole import DipoleReadout
from molflt.nn.readout.extent import ExtentReadout
from molflt.nn.readout.polarisability import PolarisabilityReadout
from molflt.nn.readout.tags import TagReadout
from molflt.targets import ReadoutName, TargetSpec

READOUTS: dict[ReadoutName, type[Readout]] = {
    "atoms": AtomReadout,
    "tags": TagReadout,
    "attention": AttentionReadout,
    "dipole": DipoleReadout,
    "extent": ExtentReadout,
    "polarisability": PolarisabilityReadout,
}
"""Their classes by name, but for targets between adsorbate and slab."""


def readout_class(spec: TargetSpec) -> type[Readout]:
    """Return the class of a target's readout."""
    return AdsorbateReadout if spec.interaction else READOUTS[spec.readout]


def readouts_of(
    targets: Sequence[TargetSpec], width: int, vector_width: int
) -> nn.ModuleDict:
    """Return the readouts of targets, by their names.

    Args:
        targets: The targets.
        width: Scalar channels of the features.
        vector_width: Vector channels, 0: none.

    Raises:
        UsageError: There is no target, two have one name, or a name cannot be used.
    """
    if not targets:
        raise UsageError("A model needs at least one target.")
    found = nn.ModuleDict()
    for spec in targets:
        if spec.name in found:
            raise UsageError(
                f"Two targets have the name {spec.name!r}; each needs one of its own."
            )
        if not spec.name or "." in spec.name or hasattr(found, spec.name):
            raise UsageError(
                f"{spec.name!r} cannot be the name of a target: letters, digits and _, "
                "and no word that modules of torch have a meaning for."
            )
        found[spec.name] = readout_of(spec, width, vector_width)
    return found


def readout_of(spec: TargetSpec, width: int, vector_width: int) -> Readout:
    """Return the readout of a target.

    Args:
        spec: The target.
        width: Scalar channels of the features.
        vector_width: Vector channels, 0: none.
    """
    made = readout_class(spec)
    known = {
        "width": width,
        "vector_width": vector_width,
        "extensive": spec.extensive,
    }
    return made(
        **{name: known[name] for name in signature(made).parameters.keys() & known}
    )
