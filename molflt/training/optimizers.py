"""Which parameters decay."""

from torch import nn
from torch.optim import AdamW


def adamw(
    module: nn.Module, lr: float, weight_decay: float, *, fused: bool = True
) -> AdamW:
    """Return AdamW with decay on matrices only.

    Weight decay pulls a linear map towards zero, which is what it is for. A bias, the
    scale of a norm, an embedding of species, or the centres, widths and weights of a
    spectrum have no reason to be small, so only weights of linear layers (two axes or
    more) decay. Source: Loshchilov and Hutter, arXiv:1711.05101, for the optimiser.

    Args:
        module: Module whose parameters are trained.
        lr: Peak learning rate.
        weight_decay: Decay of the matrices, decoupled, times the learning rate.
        fused: One pass over all parameters; Lightning refuses to clip gradients with
            it in mixed precision.
    """
    decaying = {
        id(layer.weight)
        for layer in module.modules()
        if isinstance(layer, nn.Linear) and layer.weight.requires_grad
    }
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in trained if id(p) in decaying],
            "weight_decay": weight_decay,
        },
        {"params": [p for p in trained if id(p) not in decaying], "weight_decay": 0.0},
    ]
    # Fused: one pass over all parameters; a twentieth of a step's time on a CPU.
    kept = [group for group in groups if group["params"]]
    return AdamW(kept, lr=lr, fused=fused)
