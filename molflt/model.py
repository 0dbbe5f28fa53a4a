"""FLTModel: an encoder, a readout per target, physical units. Read this first."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch_geometric.data import Data

from molflt.data.tags import TagRule
from molflt.encoder import FLTEncoder
from molflt.errors import UsageError
from molflt.features import Features, features_of
from molflt.gradients import energy_and_forces
from molflt.graph.index import graph_index
from molflt.graph.neighbors import NeighborPairs
from molflt.nn.gradients import EnergyForces
from molflt.nn.heads import Path
from molflt.nn.readout.base import Readout, Sites
from molflt.nn.readout.dipole import DipoleReadout
from molflt.readouts import readouts_of
from molflt.targets import TargetSpec

__all__ = ["FLTEncoder", "FLTModel"]


class FLTModel(nn.Module):
    r"""Encoder and a readout per target, in physical units.

        y = sum_i reference[z_i] + std * sum_i MLP(x_i)     (extensive targets)
        y = mean + std * (1/n) sum_i MLP(x_i)               (intensive targets)

    and others for dipole, spatial extent and polarisability: `molflt.nn.readout`. A
    target that is an `interaction` counts from adsorbate and slab by themselves,

        y = std * sum_(i of the adsorbate) (MLP(x_i) - MLP(x'_i)),

    x'_i the features of atom i in the adsorbate alone: what its atoms are to each other
    cancels, and an adsorbate that is far from its slab has the energy 0.

    Args:
        encoder: The encoder.
        targets: What is predicted.

    Raises:
        UsageError: There is no target, two have one name, or a name cannot be used.

    Attributes:
        statistics: Summary of the training set, by target.
        origin: Where the weights come from, plain values for people to read: data,
            command, commit, errors; empty where nobody noted it.
    """

    def __init__(self, encoder: FLTEncoder, targets: Sequence[TargetSpec]) -> None:
        super().__init__()
        self.encoder = encoder
        self.targets = tuple(targets)
        self.statistics: dict[str, dict[str, Any]] = {}
        self.origin: dict[str, Any] = {}
        self.readouts = readouts_of(self.targets, encoder.width, encoder.vector_width)

    def target_spec(self, name: str) -> TargetSpec:
        """Return the description of target `name`; KeyError if the model lacks it."""
        return {spec.name: spec for spec in self.targets}[name]

    @property
    def num_parameters(self) -> int:
        """Number of learned numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def set_statistics(self, name: str, statistics: dict[str, Any]) -> None:
        """Take atom references, mean and standard deviation from a training set.

        Args:
            name: The target.
            statistics: Plain dictionary with ``element_reference`` (value by atomic
                number), ``mean`` and ``std`` in the target's unit, for a spatial extent
                ``moment_reference`` too; other entries are kept for the record.
        """
        self.readout(name).set_statistics(statistics)
        self.statistics[name] = dict(statistics)

    def readout(self, name: str) -> Readout:
        """Return the readout of target `name`; KeyError if the model lacks it."""
        module = self.readouts[name]
        assert isinstance(module, Readout)
        return module

    def normalised(
        self, data: Data, path: Path = "auto", *, name: str | None = None
    ) -> dict[str, Tensor]:
        """Return predictions less their offset, in units of std (g,): for the loss.

        They are float64: sums over thousands of atoms deserve it.

        Args:
            data: Graph or batch of graphs.
            path: How attention is evaluated.
            name: The only target wanted; None: all of them.

        Raises:
            InputError: A target is not defined for these structures.
        """
        return self.read(self.features(data, path), name=name)

    def features(
        self,
        data: Data,
        path: Path = "auto",
        pairs: Callable[[Data], NeighborPairs] | None = None,
    ) -> Features:
        """Return the features that all targets are read from.

        The encoder meets the atoms of a large system in the order of space, unless one
        of its modules has a forward hook.

        Args:
            data: Graph or batch of graphs.
            path: How attention is evaluated.
            pairs: Returns the pairs of a graph or batch within the encoder's cutoff;
                None: they are searched.
        """
        alone = any(spec.interaction for spec in self.targets)
        return features_of(self.encoder, data, path, alone=alone, pairs=pairs)

    def read(self, features: Features, *, name: str | None = None) -> dict[str, Tensor]:
        """Return what `normalised` does, from `features`.

        Args:
            features: The features.
            name: The only target wanted; None: all of them.
        """
        names = self.readouts if name is None else [name]
        return {target: self._read(target, features) for target in names}

    def _read(self, name: str, features: Features) -> Tensor:
        def value(of: Features) -> Tensor:
            return self.readout(name)(of.x, of.vec, sites_of(of.data)).double()

        if not self.target_spec(name).interaction:
            return value(features)
        within, alone = features.of_adsorbates()
        return value(within) - value(alone)

    def _terms(self, name: str, features: Features) -> Tensor:
        def terms(of: Features) -> Tensor:
            found = self.readout(name).terms(of.x, of.vec, sites_of(of.data))
            return found.double()

        if not self.target_spec(name).interaction:
            return terms(features)
        within, alone = features.of_adsorbates()
        own = terms(within) - terms(alone)
        assert features.adsorbate is not None
        return own.new_zeros(len(features.x)).index_copy(0, features.adsorbate, own)

    def normalise(self, name: str, value: Tensor, data: Data) -> Tensor:
        """Return labels less their offset, in units of std (g,), float64."""
        readout = self.readout(name)
        shifted = value.double() - readout.offset(sites_of(data))
        return shifted / readout.std

    def physical(self, name: str, normalised: Tensor, data: Data) -> Tensor:
        """Return the prediction (g,) in the target's unit, float64."""
        readout = self.readout(name)
        return normalised.double() * readout.std + readout.offset(sites_of(data))

    def forward(self, data: Data, path: Path = "auto") -> dict[str, Tensor]:
        """Return each target of each graph (g,) in its unit, float64."""
        out = self.normalised(data, path)
        return {name: self.physical(name, value, data) for name, value in out.items()}

    def contributions(
        self,
        data: Data,
        path: Path = "auto",
        *,
        name: str | None = None,
        references: bool = True,
    ) -> dict[str, Tensor]:
        """Return each atom's share (n,) of each target, in its unit, float64.

        Args:
            data: Graph or batch of graphs.
            path: How attention is evaluated.
            name: The only target wanted; None: all of them.
            references: Whether baselines of the atoms and the mean are included.

        Raises:
            UsageError: A target is no sum over atoms, as a dipole moment.
        """
        features = self.features(data, path)
        names = self.readouts if name is None else [name]
        return {
            target: self.shares(target, features, data, references=references)
            for target in names
        }

    def shares(
        self,
        name: str,
        features: Features,
        data: Data,
        *,
        references: bool = True,
    ) -> Tensor:
        """Return what `contributions` does (n,), from `features`.

        Args:
            name: The target.
            features: The features.
            data: All atoms; those that the encoder leaves out have no learned share.
            references: Whether baselines of the atoms and the mean are included.

        Raises:
            UsageError: The target is no sum over atoms.
        """
        readout, sites = self.readout(name), sites_of(data)
        share = self._terms(name, features) * readout.std
        index = self.encoder.seen_index(data)
        if features.data is not data and index is not None:
            share = share.new_zeros(len(data.z)).index_copy(0, index, share)
        if references:
            share = share + readout.baseline(sites) + readout.mean / sites.size()
        return share

    def dipole(self, data: Data, name: str, path: Path = "auto") -> Tensor:
        """Return the dipole vector (g, 3) in the unit of target `name`, float64.

        It turns with the structure. Labels are lengths, so a model may point every
        vector from plus to minus as well as from minus to plus; compare two of them.

        Raises:
            UsageError: The target has another readout.
            InputError: A structure is periodic.
        """
        readout = self.readout(name)
        if not isinstance(readout, DipoleReadout):
            raise UsageError(f"Target {name!r} is no dipole moment; it has no vector.")
        data = self.encoder.seen(data)
        x, vec = self.encoder(data, path=path)
        return readout.vector(x, vec, sites_of(data)).double() * readout.std

    def energy_and_forces(
        self,
        data: Data,
        name: str | None = None,
        *,
        stress: bool = False,
        create_graph: bool = False,
        path: Path = "auto",
    ) -> EnergyForces:
        """Return a potential energy, its forces and perhaps its stress.

        Works under `torch.no_grad` and `torch.inference_mode` as well.

        Args:
            data: Graph or batch of graphs.
            name: The target; None: the only one that is a potential energy.
            stress: Also return (1/V) dE/d(strain); all graphs need a periodic cell.
            create_graph: Keep the graph of energy and forces, to train on them.
            path: "auto", "dense" or "linear" evaluation of the same function.

        Raises:
            InputError: Stress of a structure without a periodic cell.
            UsageError: The target is no potential energy of the geometry given.
        """
        return energy_and_forces(
            self, data, name, stress=stress, create_graph=create_graph, path=path
        )

    def predict(
        self, structures: Sequence[Any], batch_size: int = 32, tags: TagRule = "auto"
    ) -> dict[str, np.ndarray]:
        """Return every target of ASE structures, in order, in the target's unit.

        Args:
            structures: `ase.Atoms` objects.
            batch_size: Structures evaluated at once.
            tags: Convention of their tags: "oc20", "ase", "auto" or "none".

        Raises:
            InputError: A structure cannot be used; number and formula are named.
        """
        from molflt.structures import predict_structures

        return predict_structures(self, structures, batch_size, tags)


def sites_of(data: Data) -> Sites:
    """Return species, places and tags of a graph or batch of graphs, for readouts."""
    z = data.z.long()  # torch takes uint8 for a mask
    return Sites(z, data.pos, *graph_index(data), data.get("pbc"), data.get("tags"))
