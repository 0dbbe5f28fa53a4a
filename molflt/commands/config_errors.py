"""What is wrong with a configuration, in one sentence."""

import inspect
import re

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser

from molflt import data
from molflt.commands.parser import suggestion
from molflt.data.datamodule import GraphDataModule
from molflt.model import FLTEncoder


def sentence(message: str, parser: LightningArgumentParser) -> str:
    """Return the gist of jsonargparse's many lines."""
    if inner := re.search(r"There is no option '[^']+'( \(did .*?\))?\.", message):
        # Of the parser of a class that the option chooses, among what others say.
        chosen = re.search(r'Parser key "([^"]+)":', message)
        return f"Option {chosen[1]}: {inner[0]}" if chosen else inner[0]
    for pattern in (
        r"accept option '([^']+)'",
        r"Option '([^']+)' is not accepted",
        r"unrecognized arguments: --([^\s=]+)",
        r"NestedArg\(key='([^']+)'",
    ):
        if unknown := re.search(pattern, message):
            return f"There is no option '{unknown[1]}'{_nearest(unknown[1], parser)}."
    if missing := re.search(r"arguments are required: (.*)", message):
        names = re.sub(r"\b(fit|validate|test)\.", "", missing[1])
        return f"Missing {names}; give them with --config FILE."
    if broken := re.search(r"Problems parsing config: (.*)", message, re.DOTALL):
        reason = " ".join(broken[1].replace('in "<unicode string>"', "at").split())
        return f"The configuration is not valid YAML: {reason}."
    if other := re.search(r"Unexpected config: ?(.*)", message, re.DOTALL):
        found = " ".join(other[1].split())[:60] or "nothing"
        return f"A configuration has options such as model: and data:, not {found!r}."
    key = ".".join(re.findall(r'Parser key "([^"]+)":', message))
    if path := _of_path(key, message) or _of_class(key, message):
        return path
    if part := telling_part(message):
        return _of_part(key, part)
    if not key:
        return " ".join(message.split())
    if cause := re.search(r"Problem with given class_path '.*?':\s*(.+)", message):
        return f"Option {key}: {cause[1].strip()}."
    if base := _base(message):
        return f"Option {key} must be the path of a subclass of {base}."
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    if value and (kinds := _kinds(message)):
        return f"Option {key} must be {' or '.join(kinds)}, not {_quoted(value[1])}."
    reason = message.rpartition('":')[2]
    return f"Option {key}: {' '.join(reason.split())}"


def telling_part(message: str) -> str:
    """Return what is wrong with one of several types that an option can have.

    Among the reasons why the value is none of them, the one that is not only another
    type: an option of the class that was chosen, or what that class says.
    """
    reasons = re.findall(r"^\s*- (.+)$", message, re.MULTILINE)
    telling = (r for r in reasons if not r.startswith(("Expected", "Does not vali")))
    return next(telling, "")


def _base(text: str) -> str:
    """Return the class that a path should lead to a subclass of."""
    base = re.search(r"to (?:be )?a subclass of (?:<class ')?(\w+)", text)
    return base[1] if base else ""


def _of_path(key: str, message: str) -> str:
    """Return what is wrong with the path of a class or function; empty if nothing is.

    Whether a function returns what is needed, jsonargparse knows by its annotation.
    """
    made = re.search(
        r"\], (?:\w+\.)*(\w+)\] expects a function or a callable class: (.*)", message
    )
    if not made:
        return ""
    returned, reason = made.groups()
    if cause := re.match(
        r"No module named '.*?'|module .* has no attribute .*", reason
    ):
        return f"Option {key}: {cause[0]}."
    # The second is what jsonargparse stumbles over in stubs of several signatures.
    if re.match(r"Expected '.*' to be|'OverloadedName' object", reason):
        base = _base(message[: made.start()]) or returned
        return (
            f"Option {key} must be the path of a subclass of {base}, or of a function "
            f"that is annotated with what it returns (-> {returned})."
        )
    return ""


def _of_class(key: str, message: str) -> str:
    """Return which class is not where its path says; empty if all are."""
    lost = re.search(
        r"Problem with given class_path '(?:\w+\.)*(\w+)':\s*"
        r"(No module named '.*?'|module .*? has no attribute '.*?')",
        message,
    )
    if not lost:
        return ""
    name, reason = lost.groups()
    hint = f" (did you mean molflt.data.{name}?)" if name in data.__all__ else ""
    return f"Option {key}: {reason}{hint}."


def _of_part(key: str, cause: str) -> str:
    """Return a sentence on a part of an option as one that names the option, too."""
    if missing := re.fullmatch(r"Missing (.*); give them with --config FILE\.", cause):
        return f"Option {key} lacks {missing[1]}."
    if base := _base(cause):
        return f"Option {key} must be the path of a subclass of {base}."
    if part := re.match(r"Option (\S+)", cause):
        return f"Option {key}.{part[1]}{cause[part.end() :]}" if key else cause
    words = cause if cause.endswith((".", ")")) else f"{cause}."
    return f"Option {key}: {words}" if key else words


def _kinds(message: str) -> list[str]:
    """Return what types an option can have, in words."""
    types = re.search(r"Subtypes: \[(.*)\]|Expected an? (.*)\. G", message)
    if not types:
        return []
    text = types[1] or types[2]
    lists = re.findall(r"list\[(?:\w+\.)*(\w+)\]", text)
    classes = re.findall(r"<class '([\w.]+)'>", text)
    kinds = [f"one of {names}" for names in re.findall(r"Literal(\[.*?\])", text)]
    kinds += [f"a list of {name}" for name in lists]
    # Of torch: classes that the path may be of.
    kinds += [n for n in classes if n != "NoneType" and not n.startswith("torch.")]
    if "Callable[" in text:
        kinds.append("the path of a class or function")
    return kinds


def _quoted(value: str) -> str:
    return value if value.startswith(("[", "{")) else f"'{value}'"


def _nearest(name: str, parser: LightningArgumentParser) -> str:
    known = _options(parser)
    groups = {key.partition(".")[0] for key in known}
    if (group := name.partition(".")[0]) not in groups:
        return suggestion(group, groups)
    if hint := suggestion(name, known):
        return hint
    classes = [FLTEncoder, Trainer, ModelCheckpoint, *GraphDataModule.__subclasses__()]
    parameters = {word for cls in classes for word in inspect.signature(cls).parameters}
    return suggestion(name.rpartition(".")[2], parameters)


def _options(parser: LightningArgumentParser) -> set[str]:
    """Return the names of a parser's options and those of its subcommands."""
    found = {str(key) for key in parser.get_defaults().keys()}  # noqa: SIM118
    for action in parser._actions:
        if isinstance(action.choices, dict):  # of subcommands
            for subparser in action.choices.values():
                found |= _options(subparser)
    return found
