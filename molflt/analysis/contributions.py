"""The share of each atom in a prediction."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from molflt.analysis.attention import one_graph
from molflt.errors import UsageError
from molflt.model import FLTModel


@torch.no_grad()
def atom_contributions(
    model: FLTModel, graph: Data, target: str | None = None, references: bool = True
) -> NDArray[np.float64]:
    r"""Return per-atom terms (n,) that sum to the prediction, in the target's unit.

        e_i = std * out_i + reference[z_i] + mean / n           (extensive targets)
        e_i = (std * out_i + mean) / n                          (intensive targets)

    How a model shares an energy among atoms is its own choice: only the sum was
    trained. Compare the same atom in two structures rather than two atoms in one.

    Args:
        model: The model.
        graph: One structure.
        target: Name of the target; None: the only one.
        references: Whether the atoms' references and the mean are included. Without
            them, the terms sum to what attention adds to a per-element sum.

    Raises:
        UsageError: A batch, `target` is not one of the model's, or it is no sum over
            atoms (a dipole moment).
    """
    names = [spec.name for spec in model.targets]
    if target is None and len(names) == 1:
        target = names[0]
    if target not in names:
        raise UsageError(
            f"target must be one of {', '.join(names)}, received {target!r}."
        )
    graph = one_graph(model, graph)
    terms = model.contributions(graph, name=target, references=references)[target]
    return np.asarray(terms.cpu().numpy())
