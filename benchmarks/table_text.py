"""Text of tables in Markdown: rows, means and spreads, what is not there."""

from statistics import mean, stdev


def marked(values: list[list[float]], digits: int | None = None) -> list[str]:
    """Return means, the least of them bold; a dash for no values, then none is bold."""
    if not all(values):
        return [spread(group, digits) if group else "–" for group in values]
    best = min(range(len(values)), key=lambda index: mean(values[index]))
    texts = [spread(group, digits) for group in values]
    return [f"**{t}**" if i == best else t for i, t in enumerate(texts)]


def dashes(lines: list[str]) -> str:
    """Return what dashes in a table mean, if there are any."""
    return " –: not run yet." if any("| – |" in line for line in lines) else ""


def spread(values: list[float], digits: int | None = None) -> str:
    """Return the mean to three figures, with the standard deviation of several."""
    centre = mean(values)
    if digits is None:
        digits = 0 if centre >= 100 else 1 if centre >= 10 else 2 if centre >= 1 else 3
    text = f"{centre:.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{digits}f}"


def header(cells: list[str]) -> list[str]:
    """Return the two lines above a table."""
    return [line(cells), "|" + "---|" * len(cells)]


def line(cells: list[str]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"
