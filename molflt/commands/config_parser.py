"""The parser of configurations: jsonargparse's errors as one sentence."""

import re
from typing import Any, NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from molflt.commands.config_errors import sentence
from molflt.errors import InputError, UsageError


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
        raise UsageError(sentence(message, self))
