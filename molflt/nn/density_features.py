"""First features of an atom from the density of its neighbours, by element."""

import math

import torch
from ase.data import atomic_numbers
from ase.symbols import string2symbols
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from molflt.nn.angular import COMPONENTS, directions
from molflt.nn.cutoff import Cutoff
from molflt.nn.gaussians import FIRST, RadialGaussians
from molflt.nn.geometry import Geometry
from molflt.nn.pairs import Pairs
from molflt.nn.spectrum import distance
from molflt.typing import NodeScalars, Species

MAX_ORDER = len(COMPONENTS) - 1
MAX_ELEMENTS = 8
"""Numbers of an atom grow with the square of the elements: 2,600 of 5, 6,500 of 8."""

PAIR_SPACING = 0.22  # Å between the Gaussians of single neighbours
TRIPLE_SPACING = 0.47  # Å between those of pairs of neighbours
BLOCK = 4096  # atoms whose numbers are in memory at once
WEIGHTS = (1.0, math.sqrt(3), 1.5 * math.sqrt(5), 2.5 * math.sqrt(7))
"""Of orders: contractions of `directions` are l! / (2l - 1)!! Legendre polynomials."""


class DensityFeatures(nn.Module):
    r"""Two- and three-body sums around each atom, in the coordinates that vary most.

    With Y_m the `directions` of orders l = 0 to L, G_n and H_n the `RadialGaussians`,
    c the cutoffs, and e the elements that are told apart::

        P_ien  = sum_(j of element e) c(r_ij) G_n(r_ij)
        A_ienm = sum_(j of element e) c'(r_ij) H_n(r_ij) Y_m(D_ij)
        T_il(en)(e'n') = w_l sum_(m of l) A_ienm A_ie'n'm
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
        self.cutoff, self.triple_cutoff = cutoff, triple_cutoff
        self.single = _gaussians(cutoff, PAIR_SPACING)
        self.triple = _gaussians(triple_cutoff, TRIPLE_SPACING)
        row = torch.full((119,), len(numbers))
        row[list(numbers)] = torch.arange(len(numbers))
        self.register_buffer("row", row, persistent=False)
        channels = len(numbers) * self.triple.num_components
        triangle = torch.triu_indices(channels, channels)
        self.register_buffer("triangle", triangle, persistent=False)
        self.num_single = len(numbers) * self.single.num_components
        self.num_sums = self.num_single + (order + 1) * triangle.shape[1]
        self.components = min(components, self.num_sums)
        shape = len(numbers), self.num_sums, self.components
        random = torch.Generator().manual_seed(0)
        projection = torch.randn(shape, generator=random) / math.sqrt(self.num_sums)
        self.register_buffer("projection", projection)
        self.register_buffer("shift", torch.zeros(shape[0], self.components))
        self.first = nn.ModuleList(_linear(self.components, width) for _ in numbers)
        self.out = _linear(width, width)

    def rows(self, z: Species) -> Int[Tensor, " n"]:
        """Return which of the elements each atom is; their number for others."""
        return self.get_buffer("row")[z]

    @torch.no_grad()
    def set_components(self, row: int, projection: Tensor, mean: Tensor) -> None:
        """Take U and the mean of one of the elements.

        Args:
            row: The element.
            projection: U, a column a component (k, K).
            mean: Mean of the numbers (k,).
        """
        self.get_buffer("projection")[row] = projection
        self.get_buffer("shift")[row] = mean @ projection

    def forward(self, z: Species, geometry: Geometry) -> NodeScalars:
        """Return features of atoms (n, c).

        Args:
            z: Atomic numbers (n,).
            geometry: Places and neighbour pairs.
        """
        pairs = geometry.pairs
        assert pairs is not None
        row = self.rows(z)
        blocks = [
            (begin, min(begin + BLOCK, len(z))) for begin in range(0, len(z), BLOCK)
        ]
        found = []
        for begin, end in blocks:
            args = row, pairs, begin, end
            if len(blocks) > 1 and pairs.delta.requires_grad:  # computed once more
                found.append(checkpoint(self._features, *args, use_reentrant=False))
            else:
                found.append(self._features(*args))
        if not found:
            found = [self.out.weight.new_zeros(0, self.out.in_features)]
        return self.out(torch.cat(found))

    def _features(self, row: Tensor, pairs: Pairs, begin: int, end: int) -> Tensor:
        """Return silu(W_z b) of some atoms; 0 for elements that are not told apart."""
        projection, shift = self.get_buffer("projection"), self.get_buffer("shift")
        # Mixed precision would lose the components in what is common to all atoms.
        with torch.autocast(row.device.type, enabled=False):
            sums = self.sums(row, pairs, begin, end)
            out = sums.new_zeros(len(sums), self.out.in_features)
            for element, layer in enumerate(self.first):
                (which,) = torch.where(row[begin:end] == element)
                components = sums[which] @ projection[element] - shift[element]
                out = out.index_copy(0, which, nn.functional.silu(layer(components)))
        return out

    def sums(
        self, row: Int[Tensor, " n"], pairs: Pairs, begin: int, end: int
    ) -> Float[Tensor, "b k"]:
        """Return the numbers [P, T] of the atoms from begin to end.

        Args:
            row: What `rows` says of all atoms (n,).
            pairs: Neighbours.
            begin: First atom.
            end: Atom after the last.
        """
        single, density = self._densities(row, pairs, begin, end)
        found = [single.flatten(1)]
        first, second = self.get_buffer("triangle")
        twice = 1 + (math.sqrt(2) - 1) * (first != second)
        orders = density.split(COMPONENTS[: self.order + 1], 1)
        for part, weight in zip(orders, WEIGHTS, strict=False):
            products = (part.transpose(1, 2) @ part).flatten(1)
            triangle = products.index_select(1, first * part.shape[2] + second)
            found.append(triangle * (weight * twice).to(triangle.dtype))
        return torch.cat(found, dim=1)

    def _densities(
        self, row: Tensor, pairs: Pairs, begin: int, end: int
    ) -> tuple[Float[Tensor, "b e p"], Float[Tensor, "b m c"]]:
        """Return P and A, with c the elements before the Gaussians.

        The neighbours of an atom are a row of a table, so that sums over them are
        products of matrices; atoms of a block have similar numbers of neighbours.
        """
        rows = pairs.rows(len(row))
        part = rows.part(begin, end)
        delta = pairs.delta[part.pair] * part.sign.unsqueeze(1)
        r = distance(delta)
        kinds = torch.eye(len(self.numbers) + 1, dtype=r.dtype, device=r.device)
        kind = kinds[row[part.sender], :-1]  # (e, elements), a row of 0 for others
        single = (self.single(r) * self.cutoff(r)).T
        triple = (self.triple(r) * self.triple_cutoff(r)).T
        triple = (kind.unsqueeze(2) * triple.unsqueeze(1)).flatten(1)
        turned = torch.cat(directions(delta, r, self.order)).T
        columns = [kind, single, turned, triple]
        start = rows.start[begin : end + 1]
        width = int(start.diff().max()) if len(part.receiver) else 0
        place = (
            torch.arange(len(r), device=r.device) - (start - start[0])[part.receiver]
        )
        table = torch.cat(columns, dim=1)
        table = table.new_zeros((end - begin) * width, table.shape[1]).index_copy(
            0, part.receiver * width + place, table
        )
        table = table.unflatten(0, (end - begin, width))
        kind, single, turned, triple = table.split([c.shape[1] for c in columns], 2)
        return kind.transpose(1, 2) @ single, turned.transpose(1, 2) @ triple


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


def _gaussians(cutoff: Cutoff, spacing: float) -> RadialGaussians:
    room = cutoff.cutoff - FIRST
    return RadialGaussians(max(1, round(room / spacing)), cutoff.cutoff)
