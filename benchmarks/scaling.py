"""Time and peak memory against the number of atoms, of our paths and the peers.

    python benchmarks/scaling.py [--max 1000000] [--models FLT SchNet] [--box FILE.npz]
    python benchmarks/scaling.py --device cuda [--precision bf16] ...

Every model, size and mode (energy, or energy and forces) is a process of its own, ended
when it needs more than --memory GiB or --seconds; then larger sizes are left out. What
is finished is not repeated: results/scaling/*.json, on a GPU results/scaling_cuda/ and
results/scaling_cuda_bf16/, with the card's memory instead of the process's. All models
up to a million atoms take hours, "FLT" alone some minutes. `scaling_figure.py` makes
table and figure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record
from device_memory import DeviceMemory, resident_bytes
from systems import water

SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
MODES = ("energy", "forces")
POLL = 0.05  # s between looks at a process
# The fastest of several evaluations counts: of as many as fit into seconds, and of at
# most three long ones, as the first may wait for memory that nobody has touched yet.
REPEAT_WITHIN = 3.0  # s
LONG, LONG_WITHIN = 3, 90.0  # times, s


def main(arguments: list[str] | None = None) -> None:
    """Measure what is open."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--max", type=int, default=10_000, help="largest size [atoms]")
    parser.add_argument("--models", nargs="*", help="names; default: all")
    parser.add_argument("--modes", nargs="*", choices=MODES, default=list(MODES))
    parser.add_argument("--box", type=Path, help="npz file of a box of water to use")
    parser.add_argument("--memory", type=float, default=20.0, help="limit [GiB]")
    parser.add_argument("--seconds", type=float, default=1800.0, help="limit [s]")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        name, mode, atoms = options.one
        print(json.dumps(measure(name, mode, int(atoms), options)))
        return
    from scaling_models import MODELS, WITHOUT_POSITIONS

    unknown = set(options.models or ()) - set(MODELS)
    if unknown:
        parser.error(f"unknown {sorted(unknown)}; there are {', '.join(MODELS)}")
    for name in options.models or MODELS:
        for mode in options.modes:
            if mode == "energy" or name not in WITHOUT_POSITIONS:
                run_sizes(name, mode, options)


def run_sizes(name: str, mode: str, options: argparse.Namespace) -> None:
    """Measure one model at growing sizes until it fails."""
    for atoms in SIZES:
        if atoms > options.max:
            return
        path = record.RESULTS / folder(options) / f"{key(name, mode, atoms)}.json"
        if path.exists():
            result = json.loads(path.read_text())
        else:
            result = run_one(name, mode, atoms, options)
            record.write_result(f"{path.parent.name}/{path.stem}", result)
        shown = {k: v for k, v in result.items() if k in SHOWN}
        print(f"{name}, {mode}, {atoms}: {shown}", flush=True)
        if result["status"] != "done":
            return


SHOWN = ("status", "seconds", "peak_bytes", "atoms", "reason")


def folder(options: argparse.Namespace) -> str:
    """Return where results of this device and precision are."""
    kinds = [options.device, options.precision]
    return "_".join(["scaling", *(k for k in kinds if k not in ("cpu", "float32"))])


def key(name: str, mode: str, atoms: int) -> str:
    """Return the name of a result file."""
    return f"{name.lower().replace(' ', '-')}-{mode}-{atoms}"


def run_one(
    name: str, mode: str, atoms: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure in a fresh process; watch its memory and time."""
    command = [sys.executable, __file__, "--one", name, mode, str(atoms)]
    command += ["--threads", str(options.threads), "--device", options.device]
    command += ["--precision", options.precision]
    if options.box:
        command += ["--box", str(options.box)]
    limits = {"memory_gib": options.memory, "seconds_limit": options.seconds}
    asked = {"model": name, "mode": mode, "asked_atoms": atoms, "limits": limits}
    asked |= {"threads": options.threads, "box": options.box and options.box.name}
    asked |= {"device": options.device, "precision": options.precision}
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        status = watch(process, options.memory * 2**30, options.seconds)
        out.seek(0)
        err.seek(0)
        if status != "done":
            return asked | {"status": status}
        if process.returncode:
            last = (err.read().strip().splitlines() or ["no message"])[-1]
            # An allocation that is refused ends in an error before the watch sees it.
            memory = "alloc" in last.lower() or "MemoryError" in last
            return asked | {"status": "memory" if memory else "error", "reason": last}
        return asked | {"status": "done"} | json.loads(out.read().splitlines()[-1])


def watch(process: "subprocess.Popen[Any]", memory: float, seconds: float) -> str:
    """Wait for a process; end it beyond its limits and say which: memory or time."""
    start = time.monotonic()
    while process.poll() is None:
        status = ""
        if resident_bytes(process.pid) > memory:
            status = "memory"
        elif time.monotonic() - start > seconds:
            status = "time"
        if status:
            process.kill()
            process.wait()
            return status
        time.sleep(POLL)
    return "done" if process.returncode != -9 else "memory"


def is_repeated(wall: list[float]) -> bool:
    """Return whether there is another evaluation after those that took `wall` [s]."""
    after = sum(wall) + max(wall[-1:], default=0.0)
    within = LONG_WITHIN if len(wall) < LONG else REPEAT_WITHIN
    return not wall or after < within


def measure(
    name: str, mode: str, atoms: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Evaluate a model in this process; return times and the peak of memory."""
    import torch
    from scaling_models import MODELS
    from torch_geometric.data import Data

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    memory = DeviceMemory(options.device)
    device = torch.device(options.device)
    energy = MODELS[name]().eval().requires_grad_(False).to(device)
    forces = mode == "forces"
    mixed = torch.autocast(device.type, torch.bfloat16, options.precision == "bf16")

    def graph(count: int) -> Data:
        z, pos, cell = water(count, options.box)
        data = Data(z=torch.as_tensor(z), pos=torch.as_tensor(pos))
        if cell is not None:
            data.cell = torch.as_tensor(cell)[None]
            data.pbc = torch.ones(1, 3, dtype=torch.bool)
        data = data.to(device)
        data.pos.requires_grad_(forces)
        return data

    def evaluate(data: Data) -> None:
        with mixed, torch.set_grad_enabled(forces):
            total = energy(data).sum()
        if forces:
            torch.autograd.grad(total, data.pos)
        memory.wait()

    for small in (60, 2_000):  # what is compiled or set up on first use, on every path
        if small < atoms:
            evaluate(graph(small))
    data = graph(atoms)
    before = memory.now()
    wall, busy = [], []
    while is_repeated(wall):
        start, start_busy = time.perf_counter(), time.process_time()
        evaluate(data)
        wall.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_busy)
    return {
        "atoms": len(data.z),
        "seconds": min(wall),
        "processor_seconds": min(busy),
        "repeats": len(wall),
        "peak_bytes": memory.peak(),
        "bytes_before": before,
        "periodic": data.get("cell") is not None,
        "card": memory.card,
    }


if __name__ == "__main__":
    main()
