"""The auxiliary task on adsorption energies, for our model and PaiNN: displacements.

A head on the vector features predicts where each atom goes when the structure relaxes,
with a weight that falls to 0 in the course of the training
(`molflt.training.displacement`). It is no part of the model.
"""

from collections.abc import Mapping
from typing import cast

from peer_networks import PaiNN
from peers import PeerModel
from torch import Tensor
from torch_geometric.data import Batch, Data

from molflt.encoder import FLTEncoder
from molflt.model import FLTModel
from molflt.training.displacement import DisplacementTerm

WEIGHT = 1.0  # of the mean error [Å] beside the energy's [std], at the start
DECAY = "linear"


class Sizes:
    """Widths and weights of a peer, where the term asks an encoder for them."""

    def __init__(self, network: PaiNN) -> None:
        self.width = self.vector_width = network.width
        self.parameters = network.parameters


def add_term(model: FLTModel | PeerModel) -> None:
    """Give a model the head of the auxiliary task, to be trained with it."""
    if isinstance(model, FLTModel):
        encoder = model.encoder
    else:
        assert isinstance(model.network, PaiNN)
        encoder = cast(FLTEncoder, Sizes(model.network))
    model.displacements = DisplacementTerm(encoder, "l1", WEIGHT, DECAY)


def with_term(
    model: FLTModel | PeerModel, batch: Batch, progress: float
) -> tuple[Mapping[str, Tensor], Tensor | float]:
    """Return the normalised predictions, and the loss of the task (0: none).

    Args:
        model: The model, perhaps with a head.
        batch: Structures.
        progress: Part of the training that is over.
    """
    term = getattr(model, "displacements", None)
    if term is None:
        return model.normalised(batch), 0.0
    seen: Data
    if isinstance(model, FLTModel):
        features = model.features(batch)
        found = model.read(features)
        x, vec, seen = features[:3]
    else:
        seen = model.seen(batch)
        found, x, vec = model.with_features(seen)
    loss, _ = term(x, vec, seen, progress)
    return found, loss
