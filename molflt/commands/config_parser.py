"""The parser of configurations: jsonargparse's errors as one sentence."""

import inspect
import re
from typing import NoReturn

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser

from molflt.commands.parser import suggestion
from molflt.data.datamodule import GraphDataModule
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder


class ConfigParser(LightningArgumentParser):
    """Parser of configurations whose errors are one sentence."""

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
    key = ".".join(re.findall(r'Parser key "([^"]+)":', message))
    if not key:
        return " ".join(message.split())
    if cause := re.search(r"Problem with given class_path '.*?':\s*(.+)", message):
        return f"Option {key}: {cause[1].strip()}."
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    types = re.findall(r"Expected an? (?:<class '([\w.]+)'>|typing.(.*)\. G)", message)
    kinds = [kind for match in types for kind in match if kind and kind != "NoneType"]
    if value and kinds:
        wanted = " or ".join(kinds).replace("Literal", "one of ")
        return f"Option {key} must be {wanted}, not '{value[1]}'."
    reason = message.rpartition('":')[2]
    return f"Option {key}: {' '.join(reason.split())}"


def _nearest(name: str, parser: LightningArgumentParser) -> str:
    known = {str(key) for key in parser.get_defaults().keys()}  # noqa: SIM118
    if hint := suggestion(name, known):
        return hint
    classes = [FLTEncoder, Trainer, ModelCheckpoint, *GraphDataModule.__subclasses__()]
    parameters = {word for cls in classes for word in inspect.signature(cls).parameters}
    return suggestion(name.rpartition(".")[2], parameters)
