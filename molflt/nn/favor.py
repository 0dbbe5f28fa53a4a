"""FAVOR+: positive orthogonal random features of the softmax kernel."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.segment import segment_max
from molflt.nn.spectra.orthogonal import orthogonal_rows
from molflt.typing import GraphIndex


class PositiveFeatures(nn.Module):
    r"""phi with E[phi(x).phi(y)] = exp(x.y) up to a constant per query and per graph.

        phi(x)_l = (exp(w_l.x - |x|^2 / 2 - M) + eps) / sqrt(m),   w_l ~ N(0, I)

    M keeps the exponent below zero: for a query its own maximum over features, for
    keys the maximum over the atoms and features of *their graph and head*. Both cancel
    in the normalised attention up to eps; no padding and no other graph changes them.
    For that eps they are differentiated too: forces belong to the energy exactly.

    Args:
        num_heads: Number of heads, each with its own projection.
        size: Length e of the vectors x.
        num_features: Number m of features; the variance falls as 1/m.
        seed: Seed of the projection, which is kept with the weights.
        eps: Floor of a feature, so that no denominator is zero.

    Source: Choromanski et al., arXiv 2009.14794, Lemma 1.
    """

    def __init__(
        self,
        num_heads: int,
        size: int,
        num_features: int = 64,
        seed: int = 0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        generator = torch.Generator().manual_seed(seed)
        with torch.device("cpu"):  # where the generator is
            rows = orthogonal_rows(num_heads, num_features, size, generator)
        like = torch.get_default_device(), torch.get_default_dtype()
        self.register_buffer("projection", rows.to(*like))

    projection: Tensor

    def _exponent(self, x: Float[Tensor, "n h e"]) -> Float[Tensor, "n h m"]:
        norm = x.square().sum(-1, keepdim=True) / 2
        return torch.einsum("nhe,hme->nhm", x, self.projection) - norm

    def _features(
        self, exponent: Float[Tensor, "n h m"], maximum: Float[Tensor, "n h 1"]
    ) -> Float[Tensor, "n h m"]:
        root = self.num_features**-0.5
        return root * (torch.exp(exponent - maximum) + self.eps)

    def queries(self, x: Float[Tensor, "n h e"]) -> Float[Tensor, "n h m"]:
        """Return phi of queries, each scaled by its own largest feature."""
        exponent = self._exponent(x)
        return self._features(exponent, exponent.amax(-1, keepdim=True))

    def keys(
        self, x: Float[Tensor, "n h e"], batch: GraphIndex, num_graphs: int
    ) -> Float[Tensor, "n h m"]:
        """Return phi of keys, all keys of a graph and head scaled alike."""
        exponent = self._exponent(x)
        largest = segment_max(exponent.amax(-1), batch, num_graphs)
        return self._features(exponent, largest[batch].unsqueeze(-1))
