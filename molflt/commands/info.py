"""``molflt info``: what a checkpoint says of itself."""

import json
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from molflt.commands.parser import Parser
from molflt.commands.predict import CHECKPOINT_HELP


def main(words: list[str]) -> int:
    """Run ``molflt info`` on the words after it."""
    parser = Parser(
        prog="molflt info",
        description="Print what a checkpoint says of itself: targets and units, what "
        "it was trained on and its errors there, where it comes from, its options.",
    )
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", nargs="+", help=CHECKPOINT_HELP)
    add("--json", action="store_true", help="as JSON, one line a checkpoint")
    options = parser.parse_args(words)
    for checkpoint in options.checkpoint:
        info(checkpoint, as_json=options.json)
    return 0


def info(checkpoint: str | Path, *, as_json: bool = False) -> None:
    """Print the facts of one checkpoint.

    Raises:
        InputError: No such file, not a checkpoint.
    """
    from molflt.checkpoint import model_from_record, read_record
    from molflt.commands.tables import show
    from molflt.report.facts import checkpoint_facts

    record = read_record(checkpoint)
    model = model_from_record(record, str(checkpoint))
    facts = checkpoint_facts(model, checkpoint, str(record.get("version", "?")))
    if as_json:
        found = {
            "file": str(checkpoint),
            "sha256": facts["Checkpoint"]["SHA-256"],
            "parameters": model.num_parameters,
        }
        plain = {name: value for name, value in record.items() if name != "state"}
        options = {"encoder": dict(model.encoder.config)}  # all that there are now
        print(json.dumps(found | plain | options))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for heading, values in facts.items():
        table.add_row(f"[bold]{escape(heading)}[/bold]")
        for name, text in values.items():
            table.add_row(f"  {escape(name)}", escape(text))
    show(table)
