"""Whether linear maps are what their weights say, and may be read instead of called."""

from torch import nn


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


def is_watched(module: nn.Module) -> bool:
    """Whether a module has hooks on what goes in or comes out."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
