"""The part of one system that a process has, with what it needs of the others."""

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.graph.host import layout_of
from molflt.nn.exchange import Ranks
from molflt.nn.geometry import Geometry
from molflt.typing import Cells, NodeScalars, NodeVectors, Periodicity, Positions


class Share(Geometry):
    """A process's own atoms of one system, and behind them those next to them.

    To all sums over atoms the others are padding, to their neighbours they are atoms
    whose features their own process sends before each layer (`refreshed`).

    Args:
        pos: Positions (n, 3) [Å], those of own atoms first.
        num_own: Number of own atoms.
        everywhere: Positions of all atoms of the system (a, 3) [Å].
        cell: Lattice vectors as rows (1, 3, 3) [Å], or None.
        pbc: Periodic directions (1, 3), or None.
        dtype: Floating-point type of everything handed to the layers.
        ranks: The processes.
    """

    def __init__(
        self,
        pos: Positions,
        num_own: int,
        everywhere: Float[Tensor, "a 3"],
        cell: Cells | None,
        pbc: Periodicity | None,
        dtype: torch.dtype,
        ranks: Ranks,
    ) -> None:
        batch = torch.zeros(len(pos), dtype=torch.int64, device=pos.device)
        super().__init__(pos, batch, 1, cell, pbc, dtype)
        everywhere = everywhere.detach().double()
        centre = everywhere.mean(0)
        self.centred = pos.double() - centre
        self.inside = everywhere - centre, batch.new_zeros(len(everywhere))
        self.counts = batch.new_full((1,), num_own)
        self.layout = layout_of(batch[:num_own], 1, pbc)  # padding is no part of sums
        self.num_atoms = self.largest = len(everywhere)
        self.num_own, self.ranks = num_own, ranks

    def refreshed(
        self, x: NodeScalars, vec: NodeVectors | None
    ) -> tuple[NodeScalars, NodeVectors | None]:
        """Return features that are up to date at the atoms of other processes."""
        assert self.ranks is not None
        parts = [x] if vec is None else [x, vec]
        sent = [part.index_select(0, self.ranks.sent).flatten(1) for part in parts]
        widths = [part.shape[1] for part in sent]
        received = self.ranks.exchanged(torch.cat(sent, dim=1)).split(widths, dim=1)
        x, *moved = (
            torch.cat([part[: self.num_own], rows.view(-1, *part.shape[1:])])
            for part, rows in zip(parts, received, strict=True)
        )
        return x, (moved[0] if moved else None)
