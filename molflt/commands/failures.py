"""Inputs that could not be used: the first are named on stderr, all of them in a file.

One bad structure must not stop the others, and a list of thousands must not hide the
summary.
"""

import sys
from pathlib import Path

from molflt.files import atomic_path, writing

LISTED = 10
"""Failures that are named on stderr."""


class Failures:
    """Sentences about what could not be used, in the order of the input."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def __len__(self) -> int:
        return len(self._sentences)

    def add(self, sentence: str) -> None:
        """Keep a sentence."""
        self._sentences.append(sentence)

    def report(self, what: str, out: Path | None) -> None:
        """Print the first on stderr, and how many there are.

        Args:
            what: Plural of what could not be used.
            out: The output: if there are more than are printed, ``OUT.failed.txt``
                beside it has all of them. That of an earlier run is removed.

        Raises:
            InputError: The file cannot be written.
        """
        file = out and out.with_name(f"{out.name}.failed.txt")
        if file:
            with writing(file):
                file.unlink(missing_ok=True)
        if not self._sentences:
            return
        rest = ""
        if len(self) > LISTED:
            rest = f", {len(self) - LISTED} of them not listed"
            if file:
                rest = f"; {file} names all of them"
                with atomic_path(file) as temporary:
                    text = "".join(f"{sentence}\n" for sentence in self._sentences)
                    temporary.write_text(text, encoding="utf-8")
        for sentence in self._sentences[:LISTED]:
            print(f"molflt: {sentence}", file=sys.stderr)
        print(f"molflt: {len(self)} {what} could not be used{rest}.", file=sys.stderr)

    def all_failed(self) -> str:
        """Return one sentence for the case that nothing at all could be used."""
        if len(self) == 1:
            return self._sentences[0]
        return f"None of {len(self)} inputs could be used; {self._sentences[0]}"
