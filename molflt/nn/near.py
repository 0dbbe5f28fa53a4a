"""Near heads: attention whose f has compact support, exact on neighbour pairs."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.cutoff import Cutoff
from molflt.nn.geometry import Geometry, Pairs
from molflt.nn.heads import HeadProjection, Path, is_dense
from molflt.nn.segment import segment_sum
from molflt.nn.shells import RadialShells
from molflt.nn.spectrum import RadialGaussianMixture
from molflt.typing import HeadScalars, HeadVectors, NodeScalars


class NearKernel(nn.Module):
    r"""f_h(r) and the directional kernel U_h(D) of each near head.

        f_h(r) = c(r) sum_t w_ht phi_t(r)
        U_h(D) = c(r) sum_t w'_ht phi_t(r) D / sqrt(r^2 + 1 Å^2)

    c is a cutoff, phi_t the closed form of a radial shell. U is smooth and zero at
    D = 0 and turns with the system.

    Args:
        num_heads: Number of heads h.
        shells: Shells, possibly shared with other layers.
        cutoff: The cutoff function c.
        directional: Whether U is wanted.
    """

    def __init__(
        self, num_heads: int, shells: RadialShells, cutoff: Cutoff, directional: bool
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.directional = directional
        self.cutoff = cutoff
        self.mixture = RadialGaussianMixture(num_heads * (1 + directional), shells)

    def radial(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return f_h(r) for distances r [Å]."""
        return (self.mixture.radial(r) * self.cutoff(r))[: self.num_heads]

    def forward(
        self, pairs: Pairs
    ) -> tuple[Float[Tensor, "h e"], Float[Tensor, "3 h e"] | None]:
        """Return f (h, e) and U (3, h, e) of both directions of every pair."""
        components = pairs.cached(self.mixture.shells)  # (t, p)
        values = (
            self.mixture.weights @ components * self.cutoff(pairs.r)
        )  # (h or 2h, p)
        if not self.directional:
            return Pairs.mirrored(values), None
        # Views by split, here and below: the backward of a slice fills a whole array
        # with zeros, that of a split joins its parts.
        even, odd = values.split(self.num_heads)
        unit = pairs.delta * (pairs.r.square() + 1).rsqrt().unsqueeze(1)
        u = odd * unit.T.unsqueeze(1)  # (3, h, p)
        return Pairs.mirrored(even), Pairs.antimirrored(u)


class NearAttention(nn.Module):
    r"""Masked linear attention over neighbours, without a softmax.

    Per head, with w_ij = phi(q_i).phi(k_j) / (2 query_width), phi = softplus, over
    pairs of neighbours::

        s_i = sum_j w_ij f(r_ij) v_j                                    (scalars)
        S_i = sum_j w_ij U(D_ij) v'_j + sum_j w_ij f(r_ij) V_j          (vectors)

    V_j are the vector features, D_ij = r_i - r_j. The pair j = i is left out, periodic
    images of i are not. Sums are unnormalised, like messages, up to a constant.

    Args:
        width: Channels of the scalar features.
        num_heads: Number of heads h; `head_width` value channels each.
        head_width: Value channels d of one head.
        query_width: Channels of q and k of one head.
        shells: Radial shells of the kernels.
        cutoff: Cutoff function of the kernels.
        vectors: Whether there are vector features (n, 3, h d).

    Source: the `masked` form of topological masking, arXiv 2107.07999, Alg. 1, with
    f from the local RPEs of arXiv 2302.01925, Sec. 4.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        head_width: int,
        query_width: int,
        shells: RadialShells,
        cutoff: Cutoff,
        vectors: bool,
    ) -> None:
        super().__init__()
        self.num_heads, self.head_width = num_heads, head_width
        self.vectors = vectors
        self.kernel = NearKernel(num_heads, shells, cutoff, directional=vectors)
        self.project = HeadProjection(
            width, num_heads, head_width, query_width, vectors
        )

    def forward(
        self,
        x: NodeScalars,
        vec: HeadVectors | None,
        geometry: Geometry,
        path: Path = "auto",
    ) -> tuple[HeadScalars, HeadVectors | None]:
        """Return the messages: scalars (n, h d) and vectors (n, 3, h d) or None.

        Args:
            x: Scalar features.
            vec: Vector features, (n, 3, h d), or None.
            geometry: Places and neighbour pairs.
            path: "dense": batched matrix products on padded graphs; "linear": sums over
                pairs; "auto": dense for graphs up to 192 atoms. The same function.
        """
        dense = is_dense(path, geometry.size, limit=192)
        run = self._dense if dense else self._linear
        return run(x, vec, geometry)

    def _linear(
        self, x: NodeScalars, vec: HeadVectors | None, geometry: Geometry
    ) -> tuple[HeadScalars, HeadVectors | None]:
        pairs = geometry.pairs
        assert pairs is not None
        f, u = self.kernel(pairs)
        q, k, v, *rest = self.project.split(x)
        i, j = pairs.receiver, pairs.sender
        weight = (q[i] * k[j]).sum(-1)  # (e, h)
        scalar_weight = weight * f.T  # (e, h)
        out = segment_sum(scalar_weight.unsqueeze(2) * v[j], i, len(x))
        if u is None:
            return out.flatten(1), None
        assert vec is not None
        vec = vec.view(len(x), 3, self.num_heads, -1)
        vector_weight = (weight.T * u).permute(2, 0, 1)  # (e, 3, h)
        message = vector_weight.unsqueeze(3) * rest[0][j].unsqueeze(1)
        message = message + scalar_weight[:, None, :, None] * vec[j]
        return out.flatten(1), segment_sum(message, i, len(x)).flatten(2)

    def _dense(
        self, x: NodeScalars, vec: HeadVectors | None, geometry: Geometry
    ) -> tuple[HeadScalars, HeadVectors | None]:
        pairs = geometry.pairs
        assert pairs is not None
        f, u = self.kernel(pairs)
        h, d, g, a = self.num_heads, self.head_width, geometry.num_graphs, geometry.size
        kernels = f if u is None else torch.cat([f, u.flatten(0, 1)])  # (h or 4h, e)
        # Images of one pair of atoms add up in its slot: periodic sums come for free.
        table = kernels.new_zeros(len(kernels), g * a * a)
        table = table.index_add(1, geometry.pair_slot(), kernels)
        table = table.view(-1, h, g, a, a)
        # (g, a, h, ·) -> (h, g, a, ·)
        q, k, *values = (
            part.permute(2, 0, 1, 3)
            for part in map(geometry.pad, self.project.split(x))
        )
        weight = q @ k.transpose(-1, -2)  # (h, g, a, a)
        if u is None:
            out = (weight * table.squeeze(0)) @ values[0]
            return geometry.unpad(out.permute(1, 2, 0, 3)).flatten(1), None
        assert vec is not None
        vec = geometry.pad(vec.view(len(x), 3, h, d))  # (g, a, 3, h, d)
        vec = vec.permute(3, 0, 1, 2, 4).flatten(3)  # (h, g, a, 3d)
        even, odd = (weight * table).split([1, 3])  # (1 or 3, h, g, a, a)
        both = even.squeeze(0) @ torch.cat([values[0], vec], dim=3)  # (h, g, a, 4d)
        turned = odd @ values[1]  # (3, h, g, a, d)
        scalars, moved = both.split([d, 3 * d], dim=3)
        out = geometry.unpad(scalars.permute(1, 2, 0, 3)).flatten(1)
        moved = moved.unflatten(3, (3, d)).permute(1, 2, 3, 0, 4)
        vectors = moved + turned.permute(2, 3, 0, 1, 4)  # (g, a, 3, h, d)
        return out, geometry.unpad(vectors).flatten(2)
