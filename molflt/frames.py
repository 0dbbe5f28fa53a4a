"""Which structures of a file: slices, as Python counts."""

ALL = slice(None)


def one_frame(index: int) -> slice:
    """Return the frames that are this one, counted from the end if it is below 0."""
    return slice(index, index + 1 or None)
