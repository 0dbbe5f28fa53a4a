"""Structures of validation and test sets with elements that were not trained on."""

import logging
from collections import defaultdict

import torch
from ase.data import chemical_symbols
from torch_geometric.data import Batch

from molflt.domain import Domain
from molflt.model import FLTModel

log = logging.getLogger(__name__)


class UnknownSpecies:
    """Counts such structures in the first pass over each set, and tells of them once.

    Their errors count, though predictions refuse such structures: the error of the set
    is not that of the structures that the model is for. Those of a rare element easily
    are all in the random part that validates.
    """

    def __init__(self) -> None:
        self._finished: set[str] = set()
        self.clear()

    def clear(self) -> None:
        """Forget a pass that was not finished."""
        self._sizes: defaultdict[str, int] = defaultdict(int)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._species: defaultdict[str, set[int]] = defaultdict(set)

    def add(self, split: str, batch: Batch, model: FLTModel) -> None:
        """Look at a batch, unless its set was seen.

        Args:
            split: Name of the set.
            batch: ``z`` and ``batch`` of its atoms (n,).
            model: Whose statistics say which elements were trained on.
        """
        if split in self._finished or (known := Domain([model]).elements) is None:
            return
        self._sizes[split] += batch.num_graphs
        unknown = ~torch.isin(batch.z, torch.tensor(sorted(known)).to(batch.z))
        self._counts[split] += len(batch.batch[unknown].unique())
        self._species[split].update(batch.z[unknown].unique().tolist())

    def tell(self) -> None:
        """Warn of each set that has some, at the end of its first pass."""
        for split, size in self._sizes.items():
            if count := self._counts[split]:
                species = sorted(self._species[split])
                names = ", ".join(chemical_symbols[z] for z in species)
                log.warning(
                    "%s: %d of %d structures have elements that no training structure "
                    "has (%s): their errors count, though predictions refuse them.",
                    *(split, count, size, names),
                )
        self._finished |= self._sizes.keys()
        self.clear()
