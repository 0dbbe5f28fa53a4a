"""Sizes of the blocks in which large systems are evaluated."""

import torch


def block_atoms(of_thread: int, most: int, device: torch.device) -> int:
    """Return the number of atoms of a block: work enough for every thread.

    Args:
        of_thread: Atoms a thread; their arrays stay close to a processor.
        most: Memory does not grow with the number of threads beyond these.
        device: Of the arrays; one that is no CPU takes the most.
    """
    if device.type != "cpu":
        return most
    return min(of_thread * torch.get_num_threads(), most)
