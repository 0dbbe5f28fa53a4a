"""``molflt fit``, ``validate`` and ``test``."""


def main(words: list[str]) -> int:
    """Run Lightning's command line on the words after ``molflt``."""
    from molflt.commands.lightning import FLTCLI

    FLTCLI(words)
    return 0
