"""Attention followed through all layers, for the normalised (`additive`) form."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch_geometric.data import Data

from molflt.analysis.attention import (
    attention_row_blocks,
    attentions,
    one_graph,
    picked,
)
from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.nn.masked import MaskedAttention


@torch.no_grad()
def attention_rollout(
    model: FLTModel, graph: Data, atoms: ArrayLike, block: int = 256
) -> NDArray[np.float64]:
    r"""Return how much of each atom j has reached atoms i after all layers (m, n).

        R = B_L B_(L-1) ... B_1,   B_l = (A_l + 1) / 2

    A_l is the mean of the heads' attention, the unit matrix the residual connection.
    Rows sum to 1, dimensionless. Only products of rows and matrices are formed, a block
    of rows of A_l at a time: never n x n numbers. Atoms that the model leaves out
    (`skip_subsurface`) read nothing and reach themselves alone.

    It says where features may have come from, not what they do to the energy: that is
    `message_attribution`.

    Args:
        model: A model of the `additive` form.
        graph: One structure.
        atoms: Indices of the atoms i, or a mask (n,).
        block: Rows of A_l at once.

    Raises:
        UsageError: The form is `masked`: its weights are signed and unnormalised, so
            that their product means nothing.

    Source: Abnar and Zuidema, arXiv 2005.00928, Eq. 1.
    """
    if any(isinstance(each.heads, MaskedAttention) for each in attentions(model)):
        raise UsageError(
            "Attention rollout needs normalised attention (form 'additive'); of a "
            "masked model look at the shares of attention_rows, or at "
            "message_attribution."
        )
    graph = one_graph(model, graph)
    size = len(graph.z)
    rolled = np.eye(size)[picked(size, atoms, "atoms")]
    for layer in reversed(range(len(model.encoder.layers))):
        passed = np.zeros_like(rolled)
        for (rows,) in attention_row_blocks(model, graph, None, [layer], block):
            mean = rows.weights.mean(axis=0)
            passed += rolled[:, rows.atoms] @ mean
            unseen = rows.atoms[~mean.any(axis=1)]
            passed[:, unseen] += rolled[:, unseen]  # they stay what they are
        rolled = (rolled + passed) / 2
    return rolled
