"""First features of an atom from the density of its neighbours, by element."""

import math

import torch
from ase.data import atomic_numbers, chemical_symbols
from ase.symbols import string2symbols
from jaxtyping import Float, Int
from torch import Tensor, nn

from molflt.graph.host import fetched, segment_count
from molflt.nn.angular import COMPONENTS
from molflt.nn.blocks import block_atoms
from molflt.nn.cutoff import Cutoff
from molflt.nn.density.neighbours import NeighbourDensity
from molflt.nn.density.projection import (
    from_half,
    in_half,
    projection_of_chance,
    rounded,
)
from molflt.nn.density.stream import stream_features
from molflt.nn.density.warnings import DensityWarnings
from molflt.nn.geometry import Geometry
from molflt.nn.plain import can_repeat
from molflt.typing import NodeScalars, Species

MAX_ORDER = len(COMPONENTS) - 1
MAX_ELEMENTS = 8
"""Numbers of an atom grow with the square of the elements: 2,600 of 5, 6,500 of 8."""

MOST_AT_ONCE = 4096  # atoms whose numbers are all in memory at once, and kept
ATOMS = 1024  # of a block of more, a thread
WEIGHTS = (1.0, math.sqrt(3), 1.5 * math.sqrt(5), 2.5 * math.sqrt(7))
"""Of orders: contractions of `directions` are l! / (2l - 1)!! Legendre polynomials."""


class DensityFeatures(nn.Module):
    r"""Two- and three-body sums around each atom, in the coordinates that vary most.

    With P and A the `NeighbourDensity`, parts m of orders l = 0 to L, elements e::

        T_il(en)(e'n') = w_l sum_(m of l) A_imen A_ime'n'
        b_i   = U_z_i ([P_i, T_i] - mean_z_i)
        out_i = W silu(W_z_i b_i)

    Each T is a sum over pairs of neighbours of functions of both distances and of the
    angle between them, and does not change when the system is turned or mirrored. The
    cost is linear in the number of neighbours.

    mean and U are no parameters, `molflt.density.fit_density` takes them from
    structures: U turns the numbers of each element to their principal components and
    leaves out the smallest, without making the others alike. So what varies strongly
    and smoothly with the positions is learned first, as in a kernel regression on the
    same numbers. Where nothing was fitted, U is a random projection.

    Args:
        width: Channels of what is returned.
        elements: Elements that are told apart, such as "HCNOF"; others are not seen,
            and atoms of others get the same features everywhere.
        components: Principal components of each element.
        order: L, 0 to 3.
        cutoff: Cutoff function of single neighbours.
        triple_cutoff: Cutoff function of pairs of neighbours.

    Raises:
        ValueError: No such elements or too many, no such order, or no components.

    Source: power spectrum of neighbour densities, doi:10.1103/PhysRevB.87.184115,
    Sec. IV; as a polynomial basis, doi:10.1103/PhysRevB.99.014104.
    """

    def __init__(
        self,
        width: int,
        elements: str,
        components: int,
        order: int,
        cutoff: Cutoff,
        triple_cutoff: Cutoff,
    ) -> None:
        super().__init__()
        numbers = element_numbers(elements)
        if not 0 <= order <= MAX_ORDER:
            raise ValueError(
                f"density_order must be 0 to {MAX_ORDER}, received {order}"
            )
        if components < 1:
            raise ValueError(f"density_components must be positive, got {components}")
        self.numbers, self.order = numbers, order
        self.density = NeighbourDensity(len(numbers), order, cutoff, triple_cutoff)
        self._made_in = torch.get_default_dtype()
        for name, constant in self._constants().items():
            where = torch.get_default_device()
            self.register_buffer(name, constant.to(where), persistent=False)
        self.num_single = len(numbers) * self.density.single.num_components
        self.num_sums = self.num_single + (order + 1) * len(self.get_buffer("triangle"))
        self.components = min(components, self.num_sums)
        shape = len(numbers), self.num_sums, self.components
        self.register_buffer("projection", projection_of_chance(shape))
        self.register_buffer("shift", torch.zeros(shape[0], self.components))
        self.first = nn.ModuleList(_linear(self.components, width) for _ in numbers)
        self.out = _linear(width, width)
        self.register_state_dict_post_hook(in_half)
        self.register_load_state_dict_pre_hook(from_half)
        self.register_load_state_dict_post_hook(_with_constants)
        self._warnings = DensityWarnings()

    def _constants(self) -> dict[str, Tensor]:
        """Return what follows from the elements, and no state holds, on the CPU."""
        with torch.device("cpu"):
            row = torch.full((len(atomic_numbers),), len(self.numbers))  # no element
            row[list(self.numbers)] = torch.arange(len(self.numbers))
            channels = len(self.numbers) * self.density.triple.num_components
            first, second = torch.triu_indices(channels, channels)
            index = first * channels + second  # of each pair of channels once
            extra = (math.sqrt(2) - 1) * (first != second).to(self._made_in)
        return {"row": row, "triangle": index, "twice": 1 + extra}  # a pair is two

    def restore(self) -> None:
        """Make constants again: a module that was made on "meta" has none."""
        where = self.get_buffer("shift").device
        for name, constant in self._constants().items():
            before = self.get_buffer(name)
            setattr(self, name, constant.to(where, before.dtype))
        for radial in (self.density.single, self.density.triple):
            radial.restore(where)

    @property
    def is_fitted(self) -> bool:
        """Whether mean and U are those of structures, and not of chance."""
        return bool(self.get_buffer("shift").any())

    def rows(self, z: Species) -> Int[Tensor, " n"]:
        """Return which of the elements each atom is; their number for others."""
        return self.get_buffer("row")[z]

    @torch.no_grad()
    def set_components(self, row: int, projection: Tensor, mean: Tensor) -> None:
        """Take U, to half precision if it is in its range, and the mean of an element.

        Args:
            row: The element.
            projection: U, a column a component (k, K).
            mean: Mean of the numbers (k,).
        """
        projection = rounded(projection)
        self.get_buffer("projection")[row] = projection
        self.get_buffer("shift")[row] = mean @ projection

    def forward(self, z: Species, geometry: Geometry) -> NodeScalars:
        """Return features of atoms (n, c).

        Args:
            z: Atomic numbers (n,).
            geometry: Places and neighbour pairs.
        """
        assert geometry.pairs is not None
        row = self.rows(z)
        if len(z) > MOST_AT_ONCE and can_repeat(self.first):
            size = block_atoms(ATOMS, MOST_AT_ONCE, row.device)
            counts = self._counts(row, size)
            self._tell_others(counts, geometry)
            return self.out(stream_features(self, row, counts, size, geometry.pairs))
        (every,) = counts = self._counts(row, max(1, len(row)))
        self._tell_others(counts, geometry)
        return self.out(self.features(row, every, *self.density(row, geometry.pairs)))

    def _counts(self, row: Int[Tensor, " n"], size: int) -> list[list[int]]:
        """Return the atoms of each element, and of others, in each block of atoms."""
        kinds, blocks = len(self.first) + 1, max(1, -(-len(row) // size))
        block = torch.arange(len(row), device=row.device) // size
        asked = [segment_count(block * kinds + row, blocks * kinds)]
        if looks := self.training and not self._warnings.looked:
            asked.append(self.get_buffer("shift").any())
        counts, *fitted = fetched(*asked)
        if looks:
            self._warnings.trains(is_fitted=bool(fitted[0][0]))
        ends = range(0, len(counts), kinds)
        return [[int(count) for count in counts[k : k + kinds]] for k in ends]

    def _tell_others(self, counts: list[list[int]], geometry: Geometry) -> None:
        """Warn of atoms of other elements; rows of padding are of none."""
        others = sum(own[-1] for own in counts)
        padding = max(0, sum(map(sum, counts)) - geometry.num_atoms)
        if others > padding:
            known = "".join(chemical_symbols[number] for number in self.numbers)
            self._warnings.meets_others(known)

    def features(
        self, row: Tensor, counts: list[int], single: Tensor, density: Tensor
    ) -> NodeScalars:
        """Return silu(W_z b) of some atoms; 0 for elements that are not told apart.

        Args:
            row: Which of the elements each atom is.
            counts: How many atoms there are of each element, and of others.
            single: P of the atoms.
            density: A of the atoms.
        """
        projection, shift = self.get_buffer("projection"), self.get_buffer("shift")
        # Mixed precision would lose the components in what is common to all atoms.
        with torch.autocast(row.device.type, enabled=False):
            # Sorted by element, so that each is a slice: the gradient of an index for
            # each would be a whole array of zeros each.
            order = torch.argsort(row, stable=True)
            *parts, others = self.sums(single[order], density[order]).split(counts)
            found = [
                nn.functional.silu(layer(part @ turn - mean))
                for layer, part, turn, mean in zip(
                    self.first, parts, projection, shift, strict=True
                )
            ]
            found.append(others.new_zeros(len(others), self.out.in_features))
            features = torch.cat(found)
            return torch.zeros_like(features).index_copy(0, order, features)

    def sums(
        self, single: Float[Tensor, "n e p"], density: Float[Tensor, "n m c"]
    ) -> Float[Tensor, "n k"]:
        """Return the numbers [P, T] of atoms, from what `density` returned."""
        found = [single.flatten(1)]
        triangle = self.get_buffer("triangle")
        twice = self.get_buffer("twice").to(density.dtype)
        orders = density.split(COMPONENTS[: self.order + 1], 1)
        for part, weight in zip(orders, WEIGHTS, strict=False):
            products = (part.transpose(1, 2) @ part).flatten(1)
            found.append(products.index_select(1, triangle) * (weight * twice))
        return torch.cat(found, dim=1)


def element_numbers(elements: str) -> tuple[int, ...]:
    """Return the atomic numbers of symbols in a row, ascending.

    Raises:
        ValueError: There is no such element, none, one twice, or too many.
    """
    try:
        symbols = string2symbols(elements)
        numbers = {atomic_numbers[symbol] for symbol in symbols} - {0}  # no "X"
    except (KeyError, ValueError):
        symbols, numbers = [], set()
    if not numbers or "X" in symbols:
        raise ValueError(
            f"density_elements must be symbols such as HCNOF, received {elements!r}"
        )
    if len(numbers) != len(symbols):
        raise ValueError(f"density_elements names an element twice: {elements!r}")
    if not 1 <= len(numbers) <= MAX_ELEMENTS:
        raise ValueError(
            f"density_elements must be 1 to {MAX_ELEMENTS} elements, "
            f"received {len(numbers)}"
        )
    return tuple(sorted(numbers))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear map that keeps the variance of what it is given."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _with_constants(module: nn.Module, keys: object) -> None:
    """Give a module whose state was loaded the numbers that no state holds."""
    assert isinstance(module, DensityFeatures)
    module.restore()
