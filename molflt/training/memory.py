"""Memory that training frees stays with the process."""

import ctypes
import sys

# Parameters of glibc's mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Reuse freed memory instead of returning it to the system, from now on.

    By default glibc maps every large array anew, and the kernel clears its pages: some
    tenth of a training step on a CPU. The process keeps the most memory it ever had.
    Elsewhere than with glibc on Linux nothing happens.

    Source: mallopt(3).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2**26)
