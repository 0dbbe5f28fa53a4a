"""The peers: SchNet, PaiNN and the Equivariant Transformer as models of a target.

`make bench-setup` installs the packages. Around each network (`peer_networks.py`)
stands `PeerModel`, which has the interface that the training loop asks of
`molflt.FLTModel`, with the same offset and scale of the labels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from peer_networks import (
    EquivariantTransformer,
    Options,
    PaiNN,
    SchNet,
    find_pairs,
)
from torch import Tensor, nn
from torch_geometric.data import Data

from molflt.data.statistics import Statistics
from molflt.graph.moments import squared_radii
from molflt.graph.parts import ADSORBATE, behind
from molflt.graph.subsurface import part_of, seen_atoms
from molflt.model import sites_of
from molflt.nn.readout.base import Readout, Sites, fill_by_species
from molflt.targets import TargetSpec

PACKAGES = ("torch-geometric", "schnetpack", "torchmd-net")


class Offset(Readout):
    """What is added to a network's output; the same as in our model's readouts."""

    moment_reference: Tensor

    def __init__(self) -> None:
        super().__init__()
        zeros = torch.zeros_like(self.reference)
        self.register_buffer("moment_reference", zeros)
        self.has_moments = False  # to look at the buffer is to wait for a GPU

    def set_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Take what a training set says, moments of a spatial extent included."""
        super().set_statistics(statistics)
        fill_by_species(self.moment_reference, statistics["moment_reference"])
        self.has_moments = bool(self.moment_reference.any())

    def baseline(self, sites: Sites) -> Tensor:
        """Return the sum of references, and of moments where there are any (n,)."""
        reference = super().baseline(sites)
        if not self.has_moments:
            return reference
        squares = squared_radii(sites.z, sites.pos, sites.batch, sites.num_graphs)
        return reference + self.moment_reference[sites.z] * squares


class PeerModel(nn.Module):
    """A peer's network between the offset and the scale of one target.

    Args:
        network: Maps pairs to one number per graph (g,), in units of std less offset.
        spec: The target.
        cutoff: Distance within which atoms are neighbours [Å].
        skip_subsurface: Whether atoms with tag 0 are left out, as ours can.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: TargetSpec,
        cutoff: float,
        *,
        skip_subsurface: bool = False,
    ) -> None:
        super().__init__()
        self.skip_subsurface = skip_subsurface
        self.network = network
        self.targets = (spec,)
        self.cutoff = cutoff
        self.offset = Offset()

    @property
    def num_parameters(self) -> int:
        """Number of learned numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def normalised(
        self, data: Data, path: str = "auto", *, name: str | None = None
    ) -> dict[str, Tensor]:
        """Return the prediction less its offset, in units of std (g,)."""
        (spec,) = self.targets
        seen = self.seen(data)
        if not spec.interaction:
            return {spec.name: self.network(find_pairs(seen, self.cutoff))}
        values = self.network(find_pairs(with_parts(seen), self.cutoff))
        return {spec.name: between_parts(values)}

    def seen(self, data: Data) -> Data:
        """Return the atoms that the network is given."""
        index = seen_atoms(data) if self.skip_subsurface else None
        return data if index is None else part_of(data, index)

    def with_features(self, data: Data) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return what `normalised` does, and scalars and vectors of `seen` atoms."""
        assert isinstance(self.network, PaiNN)
        (spec,) = self.targets
        whole = with_parts(data) if spec.interaction else data
        found, x, vec = self.network.with_features(find_pairs(whole, self.cutoff))
        if not spec.interaction:
            return {spec.name: found}, x, vec
        n = len(data.z)
        return {spec.name: between_parts(found)}, x[:n], vec[:n]

    def normalise(self, name: str, value: Tensor, data: Data) -> Tensor:
        """Return labels less their offset, in units of std (g,)."""
        shifted = value.double() - self.offset.offset(sites_of(data))
        return (shifted / self.offset.std).float()

    def physical(self, name: str, normalised: Tensor, data: Data) -> Tensor:
        """Return the prediction (g,) in the target's unit, float64."""
        offset = self.offset.offset(sites_of(data))
        return normalised.double() * self.offset.std + offset

    def forward(self, data: Data) -> dict[str, Tensor]:
        """Return the target of each graph (g,) in its unit, float64."""
        return {
            name: self.physical(name, value, data)
            for name, value in self.normalised(data).items()
        }


def with_parts(data: Data) -> Data:
    """Return systems, behind them their adsorbates, and behind these their slabs."""
    is_adsorbate = data.tags == ADSORBATE
    whole = data
    for part in (is_adsorbate, ~is_adsorbate):
        whole = behind(whole, part_of(data, part.nonzero().squeeze(1)))
    return whole


def between_parts(values: Tensor) -> Tensor:
    """Return those of systems less those of their adsorbates and slabs (g,)."""
    whole, adsorbate, slab = values.chunk(3)
    return whole - adsorbate - slab


# Name: network, cutoff [Å], options. "ET 256" is the published QM9 configuration of the
# Equivariant Transformer, "PaiNN Bessel" that of PaiNN; SchNet's is this one.
PEERS: dict[str, tuple[Callable[..., nn.Module], float, Options]] = {
    "SchNet": (SchNet, 10.0, {"width": 128, "layers": 6, "rbf": 50}),
    "PaiNN": (PaiNN, 5.0, {"width": 128, "layers": 3, "rbf": 20, "basis": "gauss"}),
    "PaiNN Bessel": (
        PaiNN,
        5.0,
        {"width": 128, "layers": 3, "rbf": 20, "basis": "bessel"},
    ),
    "ET": (
        EquivariantTransformer,
        5.0,
        {"width": 128, "layers": 4, "heads": 8, "rbf": 50},
    ),
    "ET 256": (
        EquivariantTransformer,
        5.0,
        {"width": 256, "layers": 8, "heads": 8, "rbf": 64},
    ),
}
for _name in ("SchNet", "PaiNN Bessel"):
    _network, _cutoff, _options = PEERS[_name]
    PEERS[f"{_name} surface"] = _network, _cutoff, _options | {"skip_subsurface": True}
PEERS["PaiNN Bessel displacements"] = PEERS["PaiNN Bessel surface"]
PEERS["PaiNN Bessel interaction"] = PEERS["PaiNN Bessel surface"]


def build_peer(
    name: str, spec: TargetSpec, statistics: Statistics, cutoff: float | None = None
) -> PeerModel:
    """Return a peer with random weights and the offset and scale of its target.

    Args:
        name: Key of `PEERS`.
        spec: The target.
        statistics: Offset and scale.
        cutoff: Distance within which atoms are neighbours [Å]; None: the peer's own.
    """
    model = without_offset(name, spec, cutoff)
    model.offset.set_statistics(statistics.plain())
    return model


def without_offset(
    name: str, spec: TargetSpec, cutoff: float | None = None
) -> PeerModel:
    """Return a peer as `build_peer` does, with offset 0 and scale 1."""
    make, own, given = PEERS[name]
    cutoff = own if cutoff is None else cutoff
    options = dict(given)
    skip = options.pop("skip_subsurface", False)
    network = make(spec, cutoff, **options)
    return PeerModel(network, spec, cutoff, skip_subsurface=skip)


def main() -> None:
    """Build every peer, to see that its package works, and print its size."""
    spec = TargetSpec("energy", "eV", "property")
    for name in PEERS:
        model = without_offset(name, spec)
        print(f"{name}: {model.num_parameters:,} parameters")


if __name__ == "__main__":
    main()
