"""Whether linear maps are what their weights say, and may be read instead of called."""

from torch import nn

_FUNCTIONS = [
    kind.forward
    for kind in (nn.Linear, nn.LayerNorm, nn.Sequential, nn.Identity, nn.ModuleList)
]
# Of torch's activations: random, or not of each row or number by itself.
_NO_FUNCTIONS = (nn.RReLU, nn.MultiheadAttention, nn.Softmax, nn.GLU)


def is_plain(*maps: nn.Module | None) -> bool:
    """Whether all maps do what `nn.Linear` does, and nobody watches them.

    Compiled and streamed sums read weights. A hook, an adapter in the place of a map
    (LoRA) or a quantised one would be passed over: these are called, by operations of
    torch.

    Args:
        maps: Maps; None: there is none.
    """
    return all(
        one is None
        or (
            type(one).forward is nn.Linear.forward
            and "forward" not in vars(one)
            and not is_watched(one)
        )
        for one in maps
    )


def can_repeat(*modules: nn.Module) -> bool:
    """Whether modules do the same for blocks of rows and again, and nobody watches.

    Streamed sums call them for a block of atoms after the other, and once more in the
    backward pass, with the parameters that they have then. Dropout would draw again, a
    hook see parts, and parameters that `torch.func.functional_call` puts in are gone.

    Args:
        modules: Modules, with all that is in them.
    """
    return all(
        _is_function(part)
        and not is_watched(part)
        and all(type(p) is nn.Parameter for p in part.parameters(recurse=False))
        for module in modules
        for part in module.modules()
    )


def _is_function(module: nn.Module) -> bool:
    """Whether a module is a function of each row, known to be one."""
    if "forward" in vars(module):
        return False
    if type(module).forward in _FUNCTIONS:
        return True
    activation = type(module).__module__ == nn.SiLU.__module__
    return activation and type(module) not in _NO_FUNCTIONS


def is_watched(module: nn.Module) -> bool:
    """Whether a module has hooks on what goes in or comes out."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
