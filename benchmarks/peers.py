"""The peers: SchNet, PaiNN and the Equivariant Transformer of their own packages.

`make bench-setup` installs the packages. Each network is its package's own, output
module included; around it stands `PeerModel`, which has the interface that the training
loop asks of `molflt.FLTModel`, with the same offset and scale of the labels. All
networks are handed their neighbours by `molflt.neighbors.neighbor_pairs`, which finds
them for a whole batch of molecules at once.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from molflt.data.statistics import Statistics
from molflt.graph_index import graph_index
from molflt.host import layout_of, segment_count
from molflt.model import sites_of
from molflt.moments import squared_radii
from molflt.neighbors import neighbor_pairs
from molflt.nn.readout import Readout, Sites, fill_by_species
from molflt.subsurface import part_of, seen_atoms
from molflt.targets import TargetSpec

Options = dict[str, Any]

PACKAGES = ("torch-geometric", "schnetpack", "torchmd-net")

EXTENT_LENGTH = 2.5
"""Unit of the distances [Å] in sum_i a_i |r_i - c|^2, as in our own readout: with Å, a
network would start with outputs several times too large."""


class Pairs(NamedTuple):
    """Atoms of a batch and their neighbours; each pair occurs in both directions."""

    z: Tensor  # (n,) int64
    pos: Tensor  # (n, 3) float32, Å
    batch: Tensor  # (n,) int64
    num_graphs: int
    center: Tensor  # (p,) int64
    neighbor: Tensor  # (p,) int64
    vector: Tensor  # (p, 3) float32, Å: from the center to the neighbour (its image)


def find_pairs(data: Data, cutoff: float) -> Pairs:
    """Return the pairs closer than `cutoff` [Å], periodic images included."""
    batch, num_graphs = graph_index(data)
    cell, pbc = data.get("cell"), data.get("pbc")
    layout = layout_of(batch, num_graphs, pbc)
    first, second, shift = neighbor_pairs(
        data.pos, batch, num_graphs, cutoff, cell, pbc, layout
    )
    vector = data.pos[second] - data.pos[first]
    if layout.is_periodic:
        lattice = cell[batch[first]]
        vector = vector + torch.einsum("pi,pij->pj", shift.to(lattice.dtype), lattice)
    return Pairs(
        data.z,
        data.pos.float(),
        batch,
        num_graphs,
        torch.cat([first, second]),
        torch.cat([second, first]),
        torch.cat([vector, -vector]).float(),
    )


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
        return {spec.name: self.network(find_pairs(self.seen(data), self.cutoff))}

    def seen(self, data: Data) -> Data:
        """Return the atoms that the network is given."""
        index = seen_atoms(data) if self.skip_subsurface else None
        return data if index is None else part_of(data, index)

    def with_features(self, data: Data) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return what `normalised` does, and scalars and vectors of `seen` atoms."""
        assert isinstance(self.network, PaiNN)
        (spec,) = self.targets
        found, x, vec = self.network.with_features(find_pairs(data, self.cutoff))
        return {spec.name: found}, x, vec

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


class _Given(nn.Module):
    """Stands where a network would search for neighbours; returns those it is given.

    A module rather than a closure, because copies of the network (averaged weights)
    must not share it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: tuple[Tensor, ...] = ()

    def forward(self, *_: Tensor | None) -> tuple[Tensor, ...]:
        """Return the neighbours and forget them: they hold the graph of a batch."""
        given, self.given = self.given, ()
        return given


class SchNet(nn.Module):
    """PyG's SchNet (Schütt et al., arXiv:1706.08566)."""

    def __init__(
        self, spec: TargetSpec, cutoff: float, width: int, layers: int, rbf: int
    ) -> None:
        super().__init__()
        from torch_geometric.nn import SchNet as Network

        self.search = _Given()
        self.net = Network(
            hidden_channels=width,
            num_filters=width,
            num_interactions=layers,
            num_gaussians=rbf,
            cutoff=cutoff,
            interaction_graph=self.search,
            readout="add" if spec.extensive else "mean",
            dipole=spec.readout == "dipole",
        )

    def forward(self, pairs: Pairs) -> Tensor:
        """Return one number per graph (g,)."""
        edges = torch.stack([pairs.neighbor, pairs.center])
        self.search.given = (edges, pairs.vector.norm(dim=1))
        # PyG's masses are float64, so a dipole is, too.
        return self.net(pairs.z, pairs.pos, pairs.batch).squeeze(1).float()


class PaiNN(nn.Module):
    """SchNetPack's PaiNN (Schütt et al., arXiv:2102.03150)."""

    def __init__(
        self,
        spec: TargetSpec,
        cutoff: float,
        width: int,
        layers: int,
        rbf: int,
        basis: str,
    ) -> None:
        super().__init__()
        spk = import_schnetpack()
        basis_class = {"gauss": spk.nn.GaussianRBF, "bessel": spk.nn.BesselRBF}[basis]
        representation = spk.representation.PaiNN(
            n_atom_basis=width,
            n_interactions=layers,
            radial_basis=basis_class(n_rbf=rbf, cutoff=cutoff),
            cutoff_fn=spk.nn.CosineCutoff(cutoff),
        )
        self.width = width
        self.extent = spec.readout == "extent"
        if spec.readout == "dipole":
            output = spk.atomistic.DipoleMoment(
                n_in=width,
                predict_magnitude=True,
                use_vector_representation=True,
                dipole_key="y",
            )
        else:
            mode = "sum" if spec.extensive else "avg"
            output = spk.atomistic.Atomwise(
                n_in=width,
                aggregation_mode=None if self.extent else mode,
                output_key="y",
                per_atom_output_key="y" if self.extent else None,
            )
        self.net = spk.model.NeuralNetworkPotential(
            representation, output_modules=[output]
        )

    def forward(self, pairs: Pairs) -> Tensor:
        """Return one number per graph (g,)."""
        return self.with_features(pairs)[0]

    def with_features(self, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Return one number per graph (g,), scalars (n, c) and vectors (n, 3, c)."""
        from schnetpack import properties as keys

        counts = segment_count(pairs.batch, pairs.num_graphs)
        inputs = {
            keys.Z: pairs.z,
            keys.R: pairs.pos,
            keys.idx_m: pairs.batch,
            keys.n_atoms: counts,
            keys.idx_i: pairs.center,
            keys.idx_j: pairs.neighbor,
            keys.Rij: pairs.vector,
        }
        value = self.net(inputs)["y"]
        features = inputs["scalar_representation"], inputs["vector_representation"]
        if not self.extent:
            return value, *features
        # SchNetPack 2 has no module for <R^2>; this is the formula of PaiNN's paper.
        squares = squared_radii(pairs.z, pairs.pos, pairs.batch, pairs.num_graphs)
        terms = value.squeeze(1) * (squares / EXTENT_LENGTH**2).float()
        total = terms.new_zeros(pairs.num_graphs).index_add(0, pairs.batch, terms)
        return total, *features


class EquivariantTransformer(nn.Module):
    """TorchMD-NET's Equivariant Transformer (Thölke, De Fabritiis, arXiv:2202.02541).

    Its own search compares all atoms of a batch, whichever molecule they belong to.
    """

    def __init__(
        self,
        spec: TargetSpec,
        cutoff: float,
        width: int,
        layers: int,
        heads: int,
        rbf: int,
    ) -> None:
        super().__init__()
        create_model = import_torchmdnet()
        outputs = {"dipole": "DipoleMoment", "extent": "ElectronicSpatialExtent"}
        sums = spec.extensive or spec.readout == "dipole"
        arguments = {
            "model": "equivariant-transformer",
            "precision": 32,
            "embedding_dimension": width,
            "num_layers": layers,
            "num_heads": heads,
            "num_rbf": rbf,
            "rbf_type": "expnorm",
            "trainable_rbf": False,
            "activation": "silu",
            "attn_activation": "silu",
            "neighbor_embedding": True,
            "distance_influence": "both",
            "cutoff_lower": 0.0,
            "cutoff_upper": cutoff,
            "max_z": 100,
            "max_num_neighbors": 128,
            "derivative": False,
            "atom_filter": -1,
            "prior_model": None,
            "output_model": outputs.get(spec.readout, "Scalar"),
            "reduce_op": "sum" if sums else "mean",
        }
        self.scale = EXTENT_LENGTH**-2 if spec.readout == "extent" else 1.0
        self.net = create_model(arguments)
        self.search = _Given()
        self.net.representation_model.distance = self.search  # type: ignore[union-attr]

    def forward(self, pairs: Pairs) -> Tensor:
        """Return one number per graph (g,)."""
        # Its graphs have an edge from each atom to itself, of length zero.
        atoms = torch.arange(len(pairs.z), device=pairs.z.device)
        edges = torch.stack(
            [
                torch.cat([pairs.neighbor, atoms]),
                torch.cat([pairs.center, atoms]),
            ]
        )
        vectors = torch.cat([pairs.vector, pairs.pos.new_zeros(len(atoms), 3)])
        lengths = pairs.vector.norm(dim=1)
        lengths = torch.cat([lengths, lengths.new_zeros(len(atoms))])
        self.search.given = (edges, lengths, vectors)
        value, _ = self.net(
            pairs.z, pairs.pos, pairs.batch, num_systems=pairs.num_graphs
        )
        return value.squeeze(1) * self.scale


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


def import_schnetpack() -> Any:
    """Import SchNetPack 2.1.1 with a torch newer than it knows.

    It imports the type variable ``T_co`` from torch's data loader, for an annotation;
    torch 2.13 no longer has that name there.
    """
    from torch.utils.data import dataloader

    if not hasattr(dataloader, "T_co"):
        dataloader.T_co = TypeVar("T_co", covariant=True)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its torch.jit.script is deprecated
        import schnetpack

    return schnetpack


def import_torchmdnet() -> Callable[[Options], nn.Module]:
    """Return TorchMD-NET's `create_model`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmdnet.models.model import create_model

    return create_model


def main() -> None:
    """Build every peer, to see that its package works, and print its size."""
    spec = TargetSpec("energy", "eV", "property")
    for name in PEERS:
        model = without_offset(name, spec)
        print(f"{name}: {model.num_parameters:,} parameters")


if __name__ == "__main__":
    main()
