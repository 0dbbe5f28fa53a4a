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

    def put(self, channel: int, start: int, rows: Array) -> None:
        """Round and keep rows (m, n) of the atoms from number `start` on."""
        place = slice(start, start + len(rows))
        size = np.abs(rows)
        if self.index is not None:
            kept = self.index.shape[2]
            top = np.argpartition(-size, kept - 1, axis=1)[:, :kept]
            self.index[channel, place] = top
            rows = np.take_along_axis(rows, top, axis=1)
        largest = size.max(axis=1, initial=0.0)
        safe = np.where(largest > 0, largest, 1.0)[:, None]
        self.level[channel, place] = np.rint(LEVELS * rows / safe)
        self.scale[channel, place] = largest
        self.total[channel, place] = size.sum(axis=1)

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
    effects = n <= EFFECT_LIMIT
    channels = _channels(model, effects)
    count, kept = _fitting(n, len(channels), budget)
    atoms = np.sort(first[:count])
    signed = model.encoder.form == "masked"
    rows = _no_rows(atoms, channels, kept or n, kept is not None, signed)
    start = 0
    for block in attention_row_blocks(model, graph, atoms):
        weights = (each for layer in block for each in layer.weights)
        for channel, values in zip(_of_kind("weight", channels), weights, strict=True):
            rows.put(channel, start, values)
        start += len(block[0].atoms)
        if start < len(atoms):
            say(f"attention of {start:,} of {len(atoms):,} atoms")
    if effects:
        layers = message_attribution(model, graph, atoms, target)
        for channel, layer in zip(_of_kind("effect", channels), layers, strict=True):
            rows.put(channel, 0, layer.effects.sum(axis=0))
    return rows


def _channels(model: FLTModel, effects: bool) -> list[dict[str, Any]]:
    """Return layer, name and kind of each head, and of the effects of each layer."""
    return [
        {"layer": layer, "name": name, "kind": kind}
        for layer, attention in enumerate(attentions(model))
        for name, kind in (
            *((name, "weight") for name in head_names(attention.heads)),
            *([("effect", "effect")] if effects else []),
        )
    ]


def _of_kind(kind: str, channels: list[dict[str, Any]]) -> list[int]:
    return [k for k, channel in enumerate(channels) if channel["kind"] == kind]


def _fitting(n: int, num_channels: int, budget: int) -> tuple[int, int | None]:
    """Return of how many atoms rows fit, and how many weights of each; None: all."""
    if num_channels * n * n <= budget:
        return n, None
    kept = min(TOP, n)
    bytes_each = 3 if n < 2**16 else 5  # a level and an index
    return max(1, min(budget // (num_channels * kept * bytes_each), MOST)), kept


def _no_rows(
    atoms: NDArray[np.int64],
    channels: list[dict[str, Any]],
    kept: int,
    indexed: bool,
    signed: bool,
) -> KeptRows:
    shape = (len(channels), len(atoms))
    return KeptRows(
        atoms,
        channels,
        np.zeros((*shape, kept), np.uint32) if indexed else None,
        np.zeros((*shape, kept), np.int8),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        signed,
    )
