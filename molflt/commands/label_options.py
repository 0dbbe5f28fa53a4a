"""Options that say what the labels of a file are."""

from argparse import ArgumentTypeError, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from molflt.commands.parser import Parser
from molflt.commands.predict import TAGS
from molflt.targets import EXTENSIVE, TargetSpec

if TYPE_CHECKING:
    from molflt.data.labels.rules import LabelRules

_READOUTS: dict[str, TargetSpec] = {
    "sum": TargetSpec(""),
    "mean": TargetSpec("", extensive=False),
    **{
        name: TargetSpec("", readout=name, extensive=extensive)
        for name, extensive in EXTENSIVE.items()
    },
}


def add_label_options(parser: Parser) -> None:
    """Add the options that `rules_of` reads."""
    add = parser.add_argument
    add("--energy-key", help="name of the energy in ASE's files (default: energy)")
    add("--forces-key", help="name of the forces in ASE's files (default: forces)")
    add("--tags", choices=TAGS, default="auto", help="what tags of ASE's files mean")
    add("--stress", action="store_true", help="read the stress of ASE's files too")
    add("--stress-key", help="name of the stress, which is then read")
    add("--virial-key", help="name of the virial [eV]; the stress is -virial / volume")
    add(
        "--target",
        action="append",
        type=target,
        default=[],
        metavar="NAME[:UNIT[:READOUT]]",
        help="a number to read by its name instead of the energy, which is then named, "
        f"too; may be repeated. Unit: eV; readout: {', '.join(_READOUTS)}",
    )
    words = "structures may lack some of the targets"
    add("--missing-labels", action="store_true", help=words)


def rules_of(options: Namespace) -> "LabelRules":
    """Return what the options say.

    Raises:
        UsageError: They contradict each other.
    """
    from molflt.data.labels.rules import LabelRules

    # Of an energy alone, or of that among the targets.
    energy = {"kind": "potential"} | {
        name: vars(options)[name] for name in ("kind", "reference") if name in options
    }
    targets = tuple(
        replace(spec, **energy) if spec.name == "energy" else spec
        for spec in options.target
    )
    if any(spec.name == "energy" for spec in targets):
        energy = {}
    return LabelRules(
        *(options.energy_key, options.forces_key, options.stress, options.tags),
        targets=targets,
        missing_labels=options.missing_labels,
        stress_key=options.stress_key,
        virial_key=options.virial_key,
        **energy,
    )


def target(words: str) -> TargetSpec:
    """Return the property that ``gap:eV:mean`` says.

    Raises:
        ArgumentTypeError: It is no such thing.
    """
    name, _, rest = words.partition(":")
    unit, _, readout = rest.partition(":")
    known = _READOUTS.get(readout or "sum")
    if not name or known is None:
        raise ArgumentTypeError(
            f"{words!r} is no NAME:UNIT:READOUT; readouts are {', '.join(_READOUTS)}"
        )
    return replace(known, name=name, unit=unit or "eV", kind="property")
