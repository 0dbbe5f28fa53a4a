"""Which device models are evaluated on."""

import torch

from molflt.errors import UsageError


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device of `name`; ``auto``: the first GPU if there is one, else CPU.

    Raises:
        UsageError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"The device {name} cannot be used ({reason}).") from error
    return device
