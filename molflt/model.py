"""FLTModel: an encoder, a readout per target, physical units. Read this first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from molflt.data.tags import TagRule
from molflt.encoder import FLTEncoder, graph_index
from molflt.nn.heads import Path
from molflt.nn.readout import AtomReadout
from molflt.targets import TargetSpec

__all__ = ["FLTEncoder", "FLTModel"]


class FLTModel(nn.Module):
    r"""Encoder and a readout per target, in physical units.

        y = mean + sum_i reference[z_i] + std * sum_i MLP(x_i)     (extensive targets)
        y = mean + std * (1/n) sum_i MLP(x_i)                      (intensive targets)

    Args:
        encoder: The encoder.
        targets: What is predicted.
    """

    def __init__(self, encoder: FLTEncoder, targets: Sequence[TargetSpec]) -> None:
        super().__init__()
        if not targets:
            raise ValueError("a model needs at least one target")
        self.encoder = encoder
        self.targets = tuple(targets)
        self.statistics: dict[str, dict[str, Any]] = {}
        self.readouts = nn.ModuleDict(
            {t.name: AtomReadout(encoder.width, t.extensive) for t in self.targets}
        )

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
                number), ``mean`` and ``std`` in the target's unit; other entries are
                kept for the record.
        """
        self.readout(name).set_scale(
            statistics["element_reference"], statistics["mean"], statistics["std"]
        )
        self.statistics[name] = dict(statistics)

    def readout(self, name: str) -> AtomReadout:
        """Return the readout of target `name`; KeyError if the model lacks it."""
        module = self.readouts[name]
        assert isinstance(module, AtomReadout)
        return module

    def normalised(self, data: Data, path: Path = "auto") -> dict[str, Tensor]:
        """Return predictions less their offset, in units of std (g,): for the loss."""
        x, _ = self.encoder(data, path=path)
        batch, num_graphs = graph_index(data)
        return {
            name: head(x, batch, num_graphs) for name, head in self.readouts.items()
        }

    def normalise(self, name: str, value: Tensor, data: Data) -> Tensor:
        """Return labels less their offset, in units of std (g,), for the loss."""
        readout = self.readout(name)
        shifted = value.double() - readout.offset(data.z, *graph_index(data))
        return (shifted / readout.std).to(self.encoder.norm.weight.dtype)

    def physical(self, name: str, normalised: Tensor, data: Data) -> Tensor:
        """Return the prediction (g,) in the target's unit, float64."""
        readout = self.readout(name)
        offset = readout.offset(data.z, *graph_index(data))
        return normalised.double() * readout.std + offset

    def forward(self, data: Data, path: Path = "auto") -> dict[str, Tensor]:
        """Return each target of each graph (g,) in its unit, float64."""
        out = self.normalised(data, path)
        return {name: self.physical(name, value, data) for name, value in out.items()}

    def contributions(self, data: Data, path: Path = "auto") -> dict[str, Tensor]:
        """Return each atom's share (n,) of each target, in its unit, float64."""
        x, _ = self.encoder(data, path=path)
        batch, num_graphs = graph_index(data)
        size = torch.bincount(batch, minlength=num_graphs)[batch]
        out = {}
        for spec in self.targets:
            readout = self.readout(spec.name)
            learned = readout.per_atom(x).double() * readout.std
            if not spec.extensive:
                learned = learned / size
            share = readout.mean / size
            out[spec.name] = learned + readout.reference[data.z] + share
        return out

    @torch.no_grad()
    def predict(
        self, structures: Sequence[Any], batch_size: int = 32, tags: TagRule = "auto"
    ) -> dict[str, np.ndarray]:
        """Return every target of ASE structures, in order, in the target's unit.

        Args:
            structures: `ase.Atoms` objects.
            batch_size: Structures evaluated at once.
            tags: Convention of their tags: "oc20", "ase", "auto" or "none".

        Raises:
            InputError: A structure cannot be used; its number is named.
        """
        from molflt.structures import predict_structures

        return predict_structures(self, structures, batch_size, tags)
