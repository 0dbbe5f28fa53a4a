"""From features of atoms to one number per graph, with its offset and scale.

| readout | formula of the learned part, in units of std |
|---|---|
| `AtomReadout` | sum_i e_i, or (1/n) sum_i e_i |
| `AdsorbateReadout` (`adsorbate`) | sum_i e_i |
| `TagReadout` (`tags`) | the same of w[tag_i] e_i |
| `AttentionReadout` (`attention`) | sum_i softmax_i(g_i) e_i |
| `DipoleReadout` (`dipole`) | length of sum_i q_i (r_i - c) + d_i |
| `ExtentReadout` (`extent`) | sum_i a_i (r_i - c)^2 + b_i |
| `PolarisabilityReadout` (`polarisability`) | sum_i a_i + v_i.(r_i - c) |
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from molflt.elements import NUM_SPECIES
from molflt.errors import InputError
from molflt.graph.host import segment_count
from molflt.nn.segment import segment_mean, segment_sum
from molflt.typing import (
    GraphIndex,
    NodeScalars,
    NodeVectors,
    Periodicity,
    Positions,
    Species,
)


@dataclass(frozen=True)
class Sites:
    """What a readout knows of the atoms besides their features.

    Args:
        z: Atomic numbers (n,).
        pos: Positions (n, 3) [Å], float64 for full precision.
        batch: Graph of each atom (n,), ascending.
        num_graphs: Number of graphs g.
        pbc: Periodic directions (g, 3), or None.
        tags: 0 sub-surface, 1 surface, 2 adsorbate, -1 none (n,); None: none.
    """

    z: Species
    pos: Positions
    batch: GraphIndex
    num_graphs: int
    pbc: Periodicity | None = None
    tags: Int[Tensor, " n"] | None = None

    def size(self) -> Float[Tensor, " n"]:
        """Return the number of atoms of each atom's graph, float64."""
        return segment_count(self.batch, self.num_graphs)[self.batch].double()

    def from_centroid(self, dtype: torch.dtype) -> Positions:
        """Return r_i less the mean of its graph [Å]; centred in float64, then cast."""
        wide = self.pos.double()
        centre = segment_mean(wide, self.batch, self.num_graphs)
        return (wide - centre[self.batch]).to(dtype)

    def refuse_periodic(self, quantity: str) -> None:
        """Raise InputError if there is a periodic direction: r - c depends on images.

        Args:
            quantity: What is not defined then.
        """
        if self.pbc is not None and bool(self.pbc.any()):
            raise InputError(
                f"The {quantity} of a periodic structure is not defined; remove its "
                "periodic directions, or use a model without that target."
            )


class Readout(nn.Module):
    r"""y = mean + sum_i baseline_i + std * out, out in most readouts sum_i terms_i.

    baseline_i = reference[z_i] unless a readout says otherwise. References, mean and
    standard deviation come from the training set; they are kept in float64 whatever the
    weights are, so a total energy of 10^4 eV keeps its meV.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("reference", torch.zeros(NUM_SPECIES, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("std", torch.ones((), dtype=torch.float64))

    reference: Tensor
    mean: Tensor
    std: Tensor

    def set_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Take what a training set says.

        Args:
            statistics: ``element_reference`` (value by atomic number), ``mean`` and
                ``std`` in the target's unit.

        Raises:
            InputError: One is missing, a key is no atomic number, the mean is not
                finite, or the standard deviation not above 0.
        """
        needed = "element_reference", "mean", "std"
        if missing := [name for name in needed if name not in statistics]:
            raise InputError(
                f"Statistics have no {' and no '.join(missing)}; they need "
                f"{', '.join(needed)}."
            )
        mean, std = float(statistics["mean"]), float(statistics["std"])
        if not (math.isfinite(mean) and 0 < std < math.inf):
            raise InputError(
                "Statistics need a finite mean and a finite std above 0, received "
                f"mean {mean:g} and std {std:g}."
            )
        fill_by_species(self.reference, statistics["element_reference"])
        self.mean.fill_(mean)
        self.std.fill_(std)

    def terms(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, " n"]:
        """Return the share of each atom in the learned part, in units of std.

        Raises:
            UsageError: The target is no sum over atoms.
            InputError: The target is not defined for these structures.
        """
        raise NotImplementedError

    def forward(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, " g"]:
        """Return the target of each graph less offset, over std; float64 for sums.

        Args:
            x: Scalar features (n, c).
            vec: Vector features (n, 3, w), or None.
            sites: Species and places of the atoms.

        Raises:
            InputError: The target is not defined for these structures.
        """
        # Thousands of terms: a float32 sum would not equal that of the atoms' shares.
        terms = self.terms(x, vec, sites).double()
        return segment_sum(terms, sites.batch, sites.num_graphs)

    def baseline(self, sites: Sites) -> Float[Tensor, " n"]:
        """Return reference[z_i] of each atom, float64."""
        return self.reference[sites.z]

    def offset(self, sites: Sites) -> Float[Tensor, " g"]:
        """Return mean + sum_i baseline_i of each graph, float64."""
        total = segment_sum(self.baseline(sites), sites.batch, sites.num_graphs)
        return total + self.mean

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> "Readout":
        """Move as modules do, but keep the buffers in float64."""
        kept = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in kept.items():
            moved = self._buffers[name]
            if value is not None and moved is not None:
                # Of a module made on "meta" there are no values to be kept: `to_empty`.
                self._buffers[name] = (
                    moved.to(value.dtype) if value.is_meta else value.to(moved.device)
                )
        return self


class AtomReadout(Readout):
    r"""y = mean + sum_i reference[z_i] + std * R_i MLP(x_i), R a sum or an average.

    Sums have references and no mean (energies after relaxation mostly the reverse),
    averages a mean and no references.

    Args:
        width: Channels of the features.
        extensive: R is the sum over atoms; otherwise their average.
    """

    def __init__(self, width: int, extensive: bool) -> None:
        super().__init__()
        self.extensive = extensive
        self.hidden = nn.Linear(width, width)
        self.last = nn.Linear(width, 1)
        nn.init.zeros_(self.last.bias)
        with torch.no_grad():
            self.last.weight.mul_(0.1)  # a sum over atoms starts near zero

    def per_atom(self, x: NodeScalars) -> Float[Tensor, " n"]:
        """Return MLP(x_i), in units of std."""
        hidden = nn.functional.silu(self.hidden(x))
        # In mixed precision the terms are bf16; their sum over many atoms must not be.
        return self.last(hidden).squeeze(1).to(self.last.weight.dtype)

    def terms(
        self, x: NodeScalars, vec: NodeVectors | None, sites: Sites
    ) -> Float[Tensor, " n"]:
        """Return MLP(x_i), over the number of atoms if not extensive."""
        value = self.per_atom(x)
        return value if self.extensive else value / sites.size().to(value.dtype)


def fill_by_species(buffer: Tensor, values: Mapping[Any, float]) -> None:
    """Set the entries of a table by atomic number; those not given become 0.

    Raises:
        InputError: A key is no atomic number; nothing is set then.
    """
    known = {str(z): z for z in range(len(buffer))}  # a table in JSON has words
    if bad := [key for key in values if str(key) not in known]:
        raise InputError(
            f"References of elements go by atomic number, as 8 for oxygen, not by "
            f"{bad[0]!r}."
        )
    buffer.zero_()
    for key, value in values.items():
        buffer[known[str(key)]] = value
