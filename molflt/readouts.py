"""Which readout a target asks for."""

from molflt.nn.readout import AtomReadout, Readout
from molflt.nn.readout_attention import AttentionReadout
from molflt.nn.readout_dipole import DipoleReadout
from molflt.nn.readout_extent import ExtentReadout
from molflt.nn.readout_polarisability import PolarisabilityReadout
from molflt.nn.readout_tags import TagReadout
from molflt.targets import ReadoutName, TargetSpec

READOUTS: dict[ReadoutName, type[Readout]] = {
    "atoms": AtomReadout,
    "tags": TagReadout,
    "attention": AttentionReadout,
    "dipole": DipoleReadout,
    "extent": ExtentReadout,
    "polarisability": PolarisabilityReadout,
}
"""Their classes by name."""


def readout_of(spec: TargetSpec, width: int, vector_width: int) -> Readout:
    """Return the readout of a target.

    Args:
        spec: The target.
        width: Scalar channels of the features.
        vector_width: Vector channels, 0: none.
    """
    match spec.readout:
        case "atoms":
            return AtomReadout(width, spec.extensive)
        case "tags":
            return TagReadout(width, spec.extensive)
        case "attention":
            return AttentionReadout(width)
        case "dipole":
            return DipoleReadout(width, vector_width)
        case "extent":
            return ExtentReadout(width, vector_width)
        case "polarisability":
            return PolarisabilityReadout(width, vector_width)
