"""The networks of the peers, each of its own package, output module included.

All are handed their neighbours by `molflt.graph.neighbors.neighbor_pairs`, which finds
them for a whole batch of molecules at once.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from molflt.graph.host import layout_of, segment_count
from molflt.graph.index import graph_index
from molflt.graph.moments import squared_radii
from molflt.graph.neighbors import neighbor_pairs
from molflt.targets import TargetSpec

Options = dict[str, Any]

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
