"""The models whose time and memory `scaling.py` measures, all of one size.

Width 64, 3 layers, cutoff 5 Å where there is one, random weights. Each is a module that
maps a graph to one number, a sum over atoms.
"""

from collections.abc import Callable
from typing import Any

import torch
from efa import EuclideanFastAttention
from peer_networks import EquivariantTransformer, PaiNN, SchNet
from peers import PeerModel
from torch import Tensor, nn
from torch_geometric.data import Data

from molflt.encoder import FLTEncoder
from molflt.model import FLTModel
from molflt.nn.favor import PositiveFeatures
from molflt.nn.heads import Path
from molflt.nn.near.paths import COSTS
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import RadialGaussianMixture, distance
from molflt.targets import TargetSpec

WIDTH, LAYERS, CUTOFF, HEADS = 64, 3, 5.0, 8
SPEC = TargetSpec("energy", "eV", "potential")


class Energy(nn.Module):
    """The energy of a model of ours or of a peer.

    Args:
        model: The model.
        path: How ours is evaluated.
    """

    def __init__(self, model: FLTModel | PeerModel, path: Path = "auto") -> None:
        super().__init__()
        self.model, self.path = model, path

    def forward(self, data: Data) -> Tensor:
        """Return the energy of each graph (g,)."""
        return self.model.normalised(data, self.path)["energy"]


def flt(
    path: Path, far_heads: int = 0, *, streamed: bool = True, elements: str = ""
) -> Energy:
    """Return our model on one of its paths.

    Args:
        path: The path.
        far_heads: How many of the heads are far ones.
        streamed: Stream layers where they have many edges.
        elements: Elements that density features tell apart; "": no such features.
    """
    if not streamed:
        COSTS.stream_edges = 10**18
    encoder = FLTEncoder(
        width=WIDTH,
        num_layers=LAYERS,
        num_near_heads=HEADS - far_heads,
        num_far_heads=far_heads,
        cutoff=CUTOFF,
        density_elements=elements,
    )
    return Energy(FLTModel(encoder, [SPEC]), path)


class Global(nn.Module):
    """Pre-norm Transformer of a graph, without neighbours.

    Args:
        attention: Makes the attention of a layer: (features, positions) -> update.
    """

    def __init__(self, attention: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.species = nn.Embedding(119, WIDTH)
        self.attention = nn.ModuleList(attention() for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2 * LAYERS))
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
            for _ in range(LAYERS)
        )
        self.read = nn.Linear(WIDTH, 1)

    def forward(self, data: Data) -> Tensor:
        """Return the sum over atoms (1,)."""
        pos = (data.pos - data.pos.mean(0)).float()
        x = self.species(data.z)
        for index, attention in enumerate(self.attention):
            x = x + attention(self.norms[2 * index](x), pos)
            x = x + self.updates[index](self.norms[2 * index + 1](x))
        return self.read(x).sum(0)


class BiasedSoftmax(nn.Module):
    """torch's softmax attention, f_h(r_ij) of a radial mixture added to the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.mixture = RadialGaussianMixture(HEADS, RadialShells(8, 0.25, 0.02))

    def forward(self, x: Tensor, pos: Tensor) -> Tensor:
        """Return the update (n, c)."""
        n = len(x)
        q, k, v = self.project(x).view(n, 3, HEADS, -1).permute(1, 2, 0, 3)
        r = distance(pos[:, None] - pos[None]).flatten()
        bias = self.mixture.radial(r).view(HEADS, n, n)
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.mix(out.transpose(0, 1).flatten(1))


class Performer(nn.Module):
    """FAVOR+ without any encoding of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.features = PositiveFeatures(HEADS, WIDTH // HEADS, 64, seed=0)

    def forward(self, x: Tensor, pos: Tensor) -> Tensor:
        """Return the update (n, c)."""
        n = len(x)
        q, k, v = self.project(x).view(n, 3, HEADS, -1).unbind(1)
        scale = (WIDTH // HEADS) ** -0.25
        graph = torch.zeros(n, dtype=torch.int64, device=x.device)
        left = self.features.queries(q * scale)  # (n, h, m)
        right = self.features.keys(k * scale, graph, 1)
        state = torch.einsum("nhm,nhd->hmd", right, v)
        out = torch.einsum("nhm,hmd->nhd", left, state)
        norm = torch.einsum("nhm,hm->nh", left, right.sum(0))
        return self.mix((out / norm.unsqueeze(2)).flatten(1))


def peer(network: Callable[..., nn.Module], **options: Any) -> Energy:
    """Return a peer's network, its neighbours from our list."""
    inner = network(SPEC, CUTOFF, width=WIDTH, layers=LAYERS, **options)
    return Energy(PeerModel(inner, SPEC, CUTOFF))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "FLT": lambda: flt("auto"),
    "FLT near and far": lambda: flt("auto", far_heads=2),
    "FLT density features": lambda: flt("auto", far_heads=2, elements="HCNOF"),
    "FLT linear": lambda: flt("linear", streamed=False),
    "FLT dense": lambda: flt("dense"),
    "softmax with bias": lambda: Global(BiasedSoftmax),
    "Performer": lambda: Global(Performer),
    "EFA": lambda: Global(lambda: EuclideanFastAttention(WIDTH)),
    "SchNet": lambda: peer(SchNet, rbf=50),
    "PaiNN": lambda: peer(PaiNN, rbf=20, basis="gauss"),
    "ET": lambda: peer(EquivariantTransformer, heads=HEADS, rbf=50),
}
"""Name: how to build it. "FLT" chooses its path; near heads only unless it says so.

"FLT density features" has near and far heads and the first features of the models that
are compared on QM9.
"""

WITHOUT_POSITIONS = ("Performer",)
"""Models that have no forces."""
