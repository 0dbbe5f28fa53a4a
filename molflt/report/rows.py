"""Attention rows for a page: rounded to 8 bits, the largest weights of each row."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import Data

from molflt.analysis.attention import attention_row_blocks, attentions, head_names
from molflt.analysis.attribution import message_attribution
from molflt.model import FLTModel

BUDGET = 5_000_000  # bytes of rows; base64 makes 6.7 MB of them
TOP = 64  # weights kept of each row where all do not fit
MOST = 600  # rows where all do not fit: each costs a sum over all atoms and modes
EFFECT_LIMIT = 500  # atoms; with more, the effects of all messages are n x n too many
LEVELS = 127

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KeptRows:
    """Rows a_ij of all channels (layers and heads), for atoms i, rounded.

    a_ij ~ scale * level / 127 for the kept j. Channels are the heads of each layer and,
    for structures of up to 500 atoms, the effect of all its messages.

    Attributes:
        atoms: Atoms i (m,).
        channels: Layer, name and kind ("weight" or "effect") of each channel (c,).
        index: The kept atoms j (c, m, k); None: all of them, in order.
        level: Rounded weights (c, m, k), -127 to 127.
        scale: Largest |a_ij| of each row (c, m).
        total: sum_j |a_ij| of each row, before anything is left out (c, m).
        signed: Whether weights are signed and unnormalised (`masked`).
    """

    atoms: NDArray[np.int64]
    channels: list[dict[str, Any]]
    index: NDArray[np.uint32] | None
    level: NDArray[np.int8]
    scale: NDArray[np.float32]
    total: NDArray[np.float32]
    signed: bool

    @property
    def smallest_kept(self) -> float:
        """Smallest share of sum_j |a_ij| that a row has kept; 1: nothing left out."""
        kept = np.abs(self.level.astype(np.int32)).sum(axis=2) / LEVELS * self.scale
        ratio = np.divide(
            kept, self.total, out=np.ones_like(kept), where=self.total > 0
        )
        return float(np.clip(ratio, 0, 1).min(initial=1.0))

    def plain(self) -> dict[str, Any]:
        """Return JSON-like values; arrays as base64, little-endian."""
        narrow = (
            "<u2" if self.index is None or self.index.max(initial=0) < 2**16 else "<u4"
        )
        return {
            "atoms": self.atoms.tolist(),
            "channels": self.channels,
            "kept": self.level.shape[2],
            "signed": self.signed,
            "wide": narrow == "<u4",
            "index": None if self.index is None else encoded(self.index.astype(narrow)),
            "level": encoded(self.level),
            "scale": encoded(self.scale.astype("<f4")),
            "total": encoded(self.total.astype("<f4")),
        }


def encoded(array: NDArray[Any]) -> str:
    """Return the bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def keep_rows(
    model: FLTModel,
    graph: Data,
    target: str,
    first: NDArray[np.int64],
    budget: int = BUDGET,
    say: Callable[[str], None] = lambda _: None,
) -> KeptRows:
    """Return the rows that fit into `budget` bytes.

    All weights of all atoms where they fit; otherwise the 64 largest of each row, for
    as many atoms as fit, at most 600.

    Args:
        model: The model.
        graph: One structure.
        target: Target of the effects.
        first: All atoms, those whose rows matter most first.
        budget: Bytes.
        say: Told what is being done.
    """
    n = len(graph.z)
    heads = [head_names(attention.heads) for attention in attentions(model)]
    effects = n <= EFFECT_LIMIT
    channels = [
        {"layer": layer, "name": name, "kind": kind}
        for layer, names in enumerate(heads)
        for name, kind in (
            *((name, "weight") for name in names),
            *([("effect", "effect")] if effects else []),
        )
    ]
    whole = len(channels) * n * n <= budget
    kept = n if whole else min(TOP, n)
    per_row = len(channels) * kept * (1 if whole else 3 if n < 2**16 else 5)
    fitting = budget // per_row
    atoms = np.sort(first[: max(1, fitting if whole else min(fitting, MOST))])
    shape = (len(channels), len(atoms))
    index = None if whole else np.zeros((*shape, kept), dtype=np.uint32)
    level = np.zeros((*shape, kept), dtype=np.int8)
    scale, total = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def put(channel: int, start: int, rows: Array) -> None:
        place = slice(start, start + len(rows))
        size = np.abs(rows)
        if index is not None:
            top = np.argpartition(-size, kept - 1, axis=1)[:, :kept]
            index[channel, place] = top
            rows = np.take_along_axis(rows, top, axis=1)
        largest = size.max(axis=1, initial=0.0)
        safe = np.where(largest > 0, largest, 1.0)[:, None]
        level[channel, place] = np.rint(LEVELS * rows / safe)
        scale[channel, place], total[channel, place] = largest, size.sum(axis=1)

    signed, start = False, 0
    for block in attention_row_blocks(model, graph, atoms):
        channel = 0
        for layer in block:
            signed = signed or layer.signed
            for rows in layer.weights:
                put(channel, start, rows)
                channel += 1
            channel += effects
        start += len(block[0].atoms)
        if start < len(atoms):
            say(f"attention of {start:,} of {len(atoms):,} atoms")
    if effects:
        for each in message_attribution(model, graph, atoms, target):
            channel = sum(len(names) + 1 for names in heads[: each.layer + 1]) - 1
            put(channel, 0, each.effects.sum(axis=0))
    return KeptRows(atoms, channels, index, level, scale, total, signed)
