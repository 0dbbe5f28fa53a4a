"""Neighbour pairs that stay useful while atoms move a little."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from molflt.graph.index import graph_index
from molflt.graph.neighbors import NeighborPairs, neighbor_pairs

MIN_ATOMS = 32
"""Below, finding the pairs anew costs about as much as sorting out those of a list (on
one core, for copper with 5 Å: 0.25 against 0.10 ms with 36 atoms, 15 against 5 ms with
4,000; an evaluation takes a hundred times as long)."""


class SkinList:
    r"""The pairs of one system after another, found anew only when they must be.

    A list of all pairs within cutoff + skin has all pairs within the cutoff as long as
    no atom has moved more than half the skin since it was made, for

        |D| >= |D_0| - |u_i| - |u_j|,   u the displacements.

    Pairs of the list beyond the cutoff are sorted out at every call, so results do not
    depend on the skin. Another cell, other boundary conditions or another number of
    atoms make a new list.

    Args:
        cutoff: Cutoff of the pairs [Å].
        skin: Thickness [Å]; 0: no list is kept.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self.num_searches = 0
        self._made_for: dict[str, Tensor] | None = None
        self._pairs: NeighborPairs | None = None
        self._offset: Tensor | None = None  # shift @ cell of each pair

    def __call__(self, data: Data) -> NeighborPairs:
        """Return the pairs within the cutoff of a graph or batch of graphs."""
        pos, (batch, num_graphs) = data.pos.detach(), graph_index(data)
        cell, pbc = data.get("cell"), data.get("pbc")
        cell = None if cell is None else cell.detach()
        fields = {"pos": pos, "batch": batch, "cell": cell, "pbc": pbc}
        state = {name: value for name, value in fields.items() if value is not None}
        if self._pairs is None or not self._still_good(state):
            self.num_searches += 1
            self._pairs = neighbor_pairs(
                pos, batch, num_graphs, self.cutoff + self.skin, cell, pbc
            )
            self._made_for = {name: value.clone() for name, value in state.items()}
            first, _, shift = self._pairs
            self._offset = None
            if cell is not None and pbc is not None and bool(pbc.any()):
                lattice = cell[batch[first]]
                self._offset = torch.einsum("pi,pix->px", shift.to(cell), lattice)
        first, second, shift = self._pairs
        delta = pos.index_select(0, first) - pos.index_select(0, second)
        if self._offset is not None:
            delta -= self._offset
        close = ((delta * delta).sum(1) < self.cutoff**2).nonzero().squeeze(1)
        return NeighborPairs(
            first.index_select(0, close),
            second.index_select(0, close),
            shift.index_select(0, close),
        )

    def _still_good(self, state: dict[str, Tensor]) -> bool:
        before = self._made_for
        if before is None or before.keys() != state.keys():
            return False
        for name, value in state.items():
            if value.shape != before[name].shape or value.device != before[name].device:
                return False
            if name != "pos" and not torch.equal(value, before[name]):
                return False
        moved = (state["pos"] - before["pos"]).square().sum(1).max()
        return bool(moved < (self.skin / 2) ** 2)
