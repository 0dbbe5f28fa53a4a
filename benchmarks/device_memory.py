"""Memory of a process or of the GPU that it computes on."""

import os
import resource
from pathlib import Path

import torch


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class DeviceMemory:
    """What this process has needed: of the machine, or of a GPU.

    Args:
        device: "cpu" or "cuda".
    """

    def __init__(self, device: str) -> None:
        self._cuda = torch.cuda if device == "cuda" else None
        self.card = self._cuda.get_device_name() if self._cuda else None

    def wait(self) -> None:
        """Wait until the device has done all that it was told to do."""
        if self._cuda:
            self._cuda.synchronize()

    def now(self) -> int:
        """Return the bytes held; the peak of a GPU counts from here."""
        if self._cuda:
            self._cuda.reset_peak_memory_stats()
            return int(self._cuda.memory_allocated())
        return resident_bytes(os.getpid())

    def peak(self) -> int:
        """Return the most bytes that were held."""
        if self._cuda:
            return int(self._cuda.max_memory_allocated())
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
