"""The parser of configurations: jsonargparse's errors as one sentence."""

import inspect
import re
from typing import Any, NoReturn

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser

from molflt.commands.parser import suggestion
from molflt.data.datamodule import GraphDataModule
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder


class ConfigParser(LightningArgumentParser):
    """Parser of configurations whose errors are one sentence."""

    def parse_path(self, cfg_path: Any, *args: Any, **options: Any) -> Any:
        """Parse a file as jsonargparse does; sentences about it start with its name."""
        try:
            return super().parse_path(cfg_path, *args, **options)
        except UsageError as error:
            name = f"{cfg_path}: "
            words = str(error).removeprefix(name)
            raise UsageError(name + words) from error

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what `message` is about as a sentence.

        Raises:
            InputError: The configuration file cannot be read.
            UsageError: A key or a value is wrong.
        """
        if missing := re.search(r"File does not exist: '(.*)'", message):
            raise InputError(f"No such file: {missing[1]}.")
        raise UsageError(_sentence(message, self))


def _sentence(message: str, parser: LightningArgumentParser) -> str:
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
    if not key:
        return " ".join(message.split())
    if cause := re.search(r"Problem with given class_path '.*?':\s*(.+)", message):
        return f"Option {key}: {cause[1].strip()}."
    if base := re.search(r"does not correspond to a subclass of (\w+)", message):
        return f"Option {key} must be the path of a subclass of {base[1]}."
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    types = re.findall(r"Expected an? (?:<class '([\w.]+)'>|typing.(.*)\. G)", message)
    kinds = [kind for match in types for kind in match if kind and kind != "NoneType"]
    if value and kinds:
        wanted = " or ".join(kinds).replace("Literal", "one of ")
        return f"Option {key} must be {wanted}, not '{value[1]}'."
    reason = message.rpartition('":')[2]
    return f"Option {key}: {' '.join(reason.split())}"


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
