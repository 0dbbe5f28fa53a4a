"""Tables that predictions are written to, read again."""

import csv


def read_csv(path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
