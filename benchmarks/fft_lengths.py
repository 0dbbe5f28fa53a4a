"""How long transforms take by the length of their fine grid: which lengths are slow.

    python benchmarks/fft_lengths.py        a minute, on an idle machine

One thread, cubes, 50 points, so that the fast Fourier transform takes nearly all of the
time; FFTW's plans are not measured ones, which would differ from run to run. Writes
results/fft_lengths.json, with the lengths that `molflt.nn.far.nufft.SLOW_LENGTHS`
avoids: those that take 1.8 times as long as a longer one.
"""

import time
from typing import Any

import finufft
import numpy as np
import torch
from record import write_result

from molflt.nn.far.nufft import SLOW_LENGTHS, SMALL_GRID, fine_length

LONGEST = 200
POINTS = 50
SLOW = 1.8
TYPES: dict[torch.dtype, Any] = {
    torch.float32: (np.float32, np.complex64),
    torch.float64: (np.float64, np.complex128),
}


def lengths() -> dict[int, int]:
    """Return the most frequencies an axis of each length of the fine grid."""
    odd = range(9, LONGEST, 2)
    found = [(fine_length(count, SMALL_GRID), count) for count in odd]
    return {length: count for length, count in found if length <= LONGEST}


def seconds(count: int, dtype: torch.dtype) -> float:
    """Return the time of a transform with so many frequencies an axis."""
    real, form = TYPES[dtype]
    rows = 4 if count < 80 else 2
    rng = np.random.default_rng(0)
    points = [rng.uniform(-1, 1, POINTS).astype(real) for _ in range(3)]
    modes = np.ones((rows, count, count, count), form)
    plan = finufft.Plan(
        *(2, modes.shape[1:], rows),
        eps=1e-4,
        isign=1,
        dtype=np.dtype(form).name,
        upsampfac=SMALL_GRID,
        nthreads=1,
    )
    plan.setpts(*points)
    taken = []
    for _ in range(6 if count < 80 else 3):
        start = time.process_time()
        plan.execute(modes)
        taken.append(time.process_time() - start)
    return min(taken) / rows


def slow(times: dict[int, float]) -> list[int]:
    """Return lengths that take much longer than some longer one."""
    best = float("inf")
    found = []
    for length in sorted(times, reverse=True):
        if times[length] > SLOW * best:
            found.append(length)
        best = min(best, times[length])
    return found[::-1]


def main() -> None:
    """Measure and write."""
    rows = {}
    for dtype in TYPES:
        times = {
            length: seconds(count, dtype) for length, count in sorted(lengths().items())
        }
        found = slow(times)
        rows[str(dtype).removeprefix("torch.")] = {
            "milliseconds": {k: round(1e3 * t, 3) for k, t in times.items()},
            "slow": found,
            "avoided": SLOW_LENGTHS[dtype],
        }
        print(dtype, found, flush=True)
    print(write_result("fft_lengths", {"rows": rows}))


if __name__ == "__main__":
    main()
