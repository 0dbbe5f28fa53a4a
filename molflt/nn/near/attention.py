"""Near heads: attention whose f has compact support, exact on neighbour pairs."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.angular import COMPONENTS
from molflt.nn.cutoff import Cutoff
from molflt.nn.edges.rows import Edges
from molflt.nn.geometry import Geometry
from molflt.nn.heads import HeadProjection, Messages, Path
from molflt.nn.near import moments
from molflt.nn.near.kernel import NearKernel
from molflt.nn.near.paths import can_stream, near_path
from molflt.nn.near.rows import Atoms, HeadSizes, Vectors
from molflt.nn.near.sums import near_sums
from molflt.nn.pairs import Pairs
from molflt.nn.plain import is_plain, is_watched
from molflt.nn.segment import segment_sum
from molflt.nn.spectra.shells import RadialShells
from molflt.typing import HeadScalars, HeadVectors, NodeScalars, NodeVectors


class NearAttention(nn.Module):
    r"""Masked linear attention over neighbours, without a softmax.

    Per head, with w_ij = phi(q_i).phi(k_j) / (2 query_width), phi = softplus, over
    pairs of neighbours::

        s_i = sum_j w_ij f(r_ij) v_j                                      (scalars)
        S_i = sum_j w_ij K_1(D_ij) v'_j + sum_j w_ij f(r_ij) V_j          (vectors)
        T_i = sum_j w_ij K_2(D_ij) v''_j                                  (matrices)

    V_j are the vector features, D_ij = r_i - r_j. Of the matrices only contractions go
    on, <T W1, T W2> per channel, which do not turn: they see the angles between
    neighbours to second order. The pair j = i is left out, periodic images of i are
    not. Sums are unnormalised, like messages, up to a constant.

    Args:
        width: Channels of the scalar features.
        num_heads: Number of heads h.
        head_width: Channels d of v of one head.
        vector_head_width: Channels e of v' and V of one head; 0: scalars alone.
        matrix_head_width: Channels of v'' of one head; 0: no matrices.
        query_width: Channels of q and k of one head.
        shells: Radial shells of the kernels.
        cutoff: Cutoff function of the kernels.

    Raises:
        ValueError: Matrices without vectors.

    Source: the `masked` form of topological masking, arXiv 2107.07999, Alg. 1, with
    f from the local RPEs of arXiv 2302.01925, Sec. 4; contractions of moments as in
    moment tensor potentials (arXiv 1512.06054).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        head_width: int,
        vector_head_width: int,
        matrix_head_width: int,
        query_width: int,
        shells: RadialShells,
        cutoff: Cutoff,
    ) -> None:
        super().__init__()
        if matrix_head_width and not vector_head_width:
            raise ValueError(
                "matrix_head_width needs vector_head_width, received "
                f"{matrix_head_width} and 0"
            )
        self.num_heads, self.vector_head_width = num_heads, vector_head_width
        widths = [head_width, vector_head_width, matrix_head_width]
        self.sizes = HeadSizes(num_heads, query_width, *widths)
        self.widths = self.sizes.values
        self.kernel = NearKernel(num_heads, shells, cutoff, len(self.widths) - 1)
        self.project = HeadProjection(width, num_heads, query_width, self.widths)
        turned = num_heads * matrix_head_width
        self.contract = nn.Linear(turned, 2 * turned, bias=False) if turned else None

    def forward(
        self,
        x: NodeScalars,
        vec: NodeVectors | None,
        vector_in: nn.Module | None,
        geometry: Geometry,
        path: Path = "auto",
    ) -> Messages:
        """Return scalars (n, h d), vectors (n, 3, h e) and contractions, or None each.

        Args:
            x: Scalar features.
            vec: Vector features (n, 3, w), or None.
            vector_in: The map from these to V_j of all heads, or None.
            geometry: Places and neighbour pairs.
            path: "dense": batched matrix products on padded graphs; "linear": sums over
                pairs; "auto": the cheaper one. The same function.

        Raises:
            ValueError: Features of other atoms than the geometry's, or no vectors for
                heads that have some.
        """
        self._check(x, vec, vector_in, geometry)
        dense = near_path(path, geometry) == "dense"
        if not dense and self._is_compiled(x) and is_plain(self.project, vector_in):
            sent = self.sent(x, vec, cast("nn.Linear | None", vector_in))
            return self.contracted(*self._sums(*sent, geometry))
        moved = None
        if vec is not None and vector_in is not None:
            moved = vector_in(vec)
        run = self._dense if dense else self._linear
        return self.contracted(*run(x, moved, geometry))

    def _check(
        self,
        x: NodeScalars,
        vec: NodeVectors | None,
        vector_in: nn.Module | None,
        geometry: Geometry,
    ) -> None:
        """Refuse what compiled loops would read beyond the end of."""
        count = len(geometry.batch)
        if len(x) != count or (vec is not None and len(vec) != count):
            raise ValueError(f"x and vec must have the geometry's {count} rows")
        if self.vector_head_width and (vec is None or vector_in is None):
            raise ValueError("near heads with vectors need vec: zeros, at first")

    def contracted(
        self,
        scalars: HeadScalars,
        vectors: HeadVectors | None = None,
        matrices: Float[Tensor, "n 5 k"] | None = None,
    ) -> Messages:
        """Return sums over neighbours as messages; of matrices their contractions."""
        if self.contract is None or matrices is None:
            return Messages(scalars, vectors)
        first, second = self.contract(matrices).chunk(2, dim=2)
        return Messages(scalars, vectors, (first * second).sum(dim=1))

    def sent(
        self, x: NodeScalars, vec: NodeVectors | None, vector_in: nn.Linear | None
    ) -> tuple[Atoms, Vectors | None]:
        """Return what atoms send as `NearRows` reads it, heads as the fastest axis.

        Weights are put in that order, which are fewer numbers than what they give.

        Args:
            x: Scalar features.
            vec: Vector features (n, 3, w), or None.
            vector_in: The map from these to V_j of all heads, or None.
        """
        moved = None
        if vec is not None and vector_in is not None:
            moved = nn.functional.linear(vec, self.sizes.packed(vector_in.weight))
        return self._packed(x), moved

    def _packed(self, x: NodeScalars) -> Atoms:
        """Return phi(q) / (2 query_width), phi(k) and values, side by side."""
        sizes = self.sizes
        widths = [
            size * sizes.heads for size in (sizes.query, sizes.query, *self.widths)
        ]
        weight, bias = (
            torch.cat([sizes.packed(part) for part in whole.split(widths)])
            for whole in (self.project.weight, self.project.bias)
        )
        out = nn.functional.linear(x, weight, bias)
        filled = sizes.filled * sizes.query
        # Views by split, not by slices: see `NearKernel.radials`.
        q, k, values = out.split([filled, filled, out.shape[1] - 2 * filled], dim=1)
        phi = nn.functional.softplus
        return torch.cat([phi(q) * self.project.scale, phi(k), values], dim=1)

    def edges(self, pairs: Pairs, num_atoms: int) -> Edges:
        """Return rows of edges with all K_hl as `NearRows` reads them."""
        kernel = self.kernel
        weights = kernel.mixture.weights.split(self.num_heads)
        weights = torch.cat([self.sizes.packed(part) for part in weights])
        return pairs.edges(num_atoms, kernel.mixture.shells, kernel.cutoff, weights)

    def _is_compiled(self, x: NodeScalars) -> bool:
        """Whether compiled loops do the sums."""
        if is_watched(self.kernel) or not can_stream(x):
            return False
        return self.sizes.compiled(x) is not None

    def _sums(
        self, atoms: Atoms, vectors: Vectors | None, geometry: Geometry
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Sum over rows of edges, compiled."""
        edges = self.edges(geometry.found_pairs, len(atoms))
        return self._parts(list(near_sums(atoms, vectors, edges, self.sizes)))

    def _linear(
        self, x: NodeScalars, vec: HeadVectors | None, geometry: Geometry
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Sum over pairs by operations of torch, in any precision."""
        pairs = geometry.found_pairs
        q, k, *values = self.project.split(x)
        i, j = pairs.receiver, pairs.sender
        weight = (q[i] * k[j]).sum(-1)  # (e, h)
        kernels = (self.kernel(pairs) * weight.T).permute(2, 0, 1).unsqueeze(3)
        parts = kernels.split(COMPONENTS[: len(values)], dim=1)  # (e, m, h, 1) each
        messages = [
            part * value[j].unsqueeze(1)
            for part, value in zip(parts, values, strict=True)
        ]
        if vec is not None:
            vec = vec.view(len(x), 3, self.num_heads, -1)
            messages[1] = messages[1] + parts[0] * vec[j]
        out = [segment_sum(part, i, len(x)).flatten(2) for part in messages]
        return self._parts([out[0].squeeze(1), *out[1:]])

    def _dense(
        self, x: NodeScalars, vec: HeadVectors | None, geometry: Geometry
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        pairs = geometry.found_pairs
        h, e = self.num_heads, self.vector_head_width
        g, a = geometry.num_graphs, geometry.size
        # Fewer tables, unless displacements are not differences of places, or large.
        compact = not geometry.is_periodic and geometry.layout.extent <= moments.REACH
        # Who watches the kernels needs them as arrays of directed edges.
        compact = compact and not is_watched(self.kernel)
        kernels = self.kernel(pairs, directed=not compact).flatten(0, 1)  # (m h, e)
        # Images of one pair of atoms add up in its slot: periodic sums come for free.
        table = kernels.new_zeros(len(kernels), g * a * a)
        for slots in geometry.pair_slot().split(kernels.shape[1]):
            table.index_add_(1, slots, kernels)
        table = table.view(len(kernels) // h, h, g, a, a)
        parts = [geometry.pad(part) for part in self.project.split(x)]  # (g, a, h, ·)
        q, k, *values = (part.permute(2, 0, 1, 3) for part in parts)  # (h, g, a, ·)
        weights = (q @ k.transpose(-1, -2)) * table
        if vec is None:
            out = weights.squeeze(0) @ values[0]
            return geometry.unpad(out.permute(1, 2, 0, 3)).flatten(1), None, None
        # (h, g, a, 3e)
        vec = geometry.pad(vec.view(len(x), 3, h, e)).permute(3, 0, 1, 2, 4).flatten(3)
        if compact:
            even, *rest = weights.unbind()
            moved = (even @ vec).unflatten(3, (3, e))
            places = geometry.pad(geometry.centred.to(x.dtype))
            turned = [moments.first_moments(rest[0], parts[3], places, moved)]
            turned += [
                moments.second_moments(rest[1], value, places) for value in parts[4:]
            ]
        else:
            whole, *directed = weights.split(COMPONENTS[: len(values)])
            even = whole.squeeze(0)
            sums = [
                (part @ value).permute(1, 2, 3, 0, 4)  # (h, g, a, 3 or 5, ·)
                for part, value in zip(directed, values[1:], strict=True)
            ]
            sums[0] = sums[0] + (even @ vec).unflatten(3, (3, e))
            turned = [moments.in_rows(part) for part in sums]
        scalars = even @ values[0]
        out = geometry.unpad(scalars.permute(1, 2, 0, 3)).flatten(1)
        return self._parts([out, *map(geometry.unpad, turned)])

    @staticmethod
    def _parts(parts: list[Tensor]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return scalars, vectors and matrices; None for what there is not."""
        scalars, vectors, matrices = [*parts, None, None][:3]
        assert scalars is not None
        return scalars, vectors, matrices
