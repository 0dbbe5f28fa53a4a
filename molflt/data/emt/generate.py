"""Generate the EMT data set: adsorption energies of relaxed adsorbates on fcc slabs.

The task is IS2RE of OC20 with a cheap potential. Its reference differs from OC20's: the
isolated adsorbate itself, relaxed with EMT, instead of a linear combination of N2, CO,
H2O and H2.
"""

import os
import shutil
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from molflt.data.emt.relax import FMAX, Split, System, make_system
from molflt.data.emt.systems import ADSORBATES, METALS, PAIRS, PURE
from molflt.data.lmdb.store import write_lmdb
from molflt.data.molecule import held_atoms, make_graph
from molflt.errors import UsageError
from molflt.files import writing
from molflt.targets import TargetSpec

HELD_OUT_ADSORBATES = ("NO", "HCN", "NH2", "CH2O")
HELD_OUT_PAIRS = (("Al", "Ag"), ("Cu", "Pt"), ("Ni", "Pd"))
SPLITS = ("train", "val_id", "val_ood_ads", "val_ood_cat", "val_ood_both")

ADSORPTION_ENERGY = TargetSpec(
    "energy",
    unit="eV",
    kind="relaxed",
    reference=(
        "E(slab+adsorbate) - E(slab) - E(isolated adsorbate), each relaxed, ASE EMT; "
        "OC20 refers to N2, CO, H2O and H2 instead of the adsorbate"
    ),
)
TOTAL_ENERGY = TargetSpec(
    "energy",
    unit="eV",
    kind="potential",
    reference="ASE EMT total energy (zero: atoms in their fcc metals, E0 removed)",
)


def split_plan(name: str) -> Split:
    """Return what a split may contain; no adsorbate or pair is on both sides."""
    new_ads = name in ("val_ood_ads", "val_ood_both")
    new_cat = name in ("val_ood_cat", "val_ood_both")
    known = tuple(a for a in ADSORBATES if a not in HELD_OUT_ADSORBATES)
    return Split(
        name,
        HELD_OUT_ADSORBATES if new_ads else known,
        HELD_OUT_PAIRS
        if new_cat
        else tuple(p for p in PAIRS if p not in HELD_OUT_PAIRS),
        0.0 if new_cat else PURE,
    )


def generate(
    out: str | Path,
    num: int,
    seed: int = 0,
    workers: int = 1,
    frames: bool = False,
    progress: bool | None = True,
    num_val: int | None = None,
) -> dict[str, dict[str, int]]:
    """Generate `num` training systems and four validation splits into a new folder.

    Files: ``{split}.lmdb`` with the initial structure, the relaxed positions and the
    adsorption energy; with `frames` also ``frames_{split}.lmdb``: up to six frames of
    each relaxation and some away from it (`molflt.data.emt.frames`), with total energy
    and forces (of held atoms too). Positions are float32. The same systems come out for
    any number of workers. The folder appears when everything is written; Ctrl-C or a
    full disk leave nothing.

    Args:
        out: Folder to make; it may exist only if it is empty.
        num: Training systems.
        seed: Non-negative seed of everything random.
        workers: Processes; 1: this one. More need the usual
            ``if __name__ == "__main__"`` guard in a script.
        frames: Also write frames for force training.
        progress: Draw bars; None: only on a terminal.
        num_val: Systems of each validation split; None: ``num // 14``, at least 1.

    Returns:
        For each split the number kept and the numbers dropped, by reason.

    Raises:
        UsageError: A count out of range, or `out` is not empty.
        InputError: `out` cannot be written, for example on a full disk.
    """
    out = Path(out).resolve()  # a link to an empty folder, or "."
    num_val = max(num // 14, 1) if num_val is None else num_val
    if num < 1 or num_val < 1 or workers < 1 or seed < 0:
        raise UsageError(
            "The numbers of systems and workers must be at least 1, the seed at least "
            f"0; not num={num}, num_val={num_val}, workers={workers}, seed={seed}."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder; name a new one.")
    counts: dict[str, dict[str, int]] = {}
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with writing(out):
            with _pool(workers) as pool:
                for name in SPLITS:
                    size = num if name == "train" else num_val
                    counts[name] = _write_split(
                        folder, name, size, seed, frames, pool, progress
                    )
            folder.chmod(0o755)
            folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return counts


def _pool(workers: int) -> Any:
    if workers == 1:
        return nullcontext()
    # spawn: a fork of a process in which torch has started threads may hang
    return ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker
    )


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, which then ends the workers; end when it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _systems(
    name: str, size: int, seed: int, frames: bool, pool: Executor | None
) -> Iterator[System]:
    """Yield attempts in order, good and dropped ones, until `size` are good."""
    make = partial(_make, name, seed, frames)
    kept = start = 0
    while kept < size:
        attempts = range(start, start + size - kept)
        start = attempts.stop
        results = map(make, attempts) if pool is None else _map(pool, make, attempts)
        for system in results:
            kept += not system.dropped
            yield system


def _make(name: str, seed: int, frames: bool, attempt: int) -> System:
    return make_system(split_plan(name), SPLITS.index(name), attempt, seed, frames)


def _map(pool: Executor, make: Any, attempts: range) -> Iterator[System]:
    try:
        yield from pool.map(make, attempts, chunksize=8)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _write_split(
    folder: Path,
    name: str,
    size: int,
    seed: int,
    frames: bool,
    pool: Executor | None,
    progress: bool | None,
) -> dict[str, int]:
    dropped: Counter[str] = Counter()
    metadata = _metadata(name, seed)
    write = partial(write_lmdb, metadata=metadata, precision="float32")

    def good() -> Iterator[System]:
        for system in _systems(name, size, seed, frames, pool):
            if system.dropped:
                dropped[system.dropped] += 1
            else:
                yield system
        # write_lmdb stores the metadata last, so that the counts can be in it
        metadata["dropped"] = dict(sorted(dropped.items()))

    if frames:
        systems: list[Data] = []  # small beside the frames, which are streamed

        def stream() -> Iterator[Data]:
            for system in good():
                systems.append(_is2re_graph(system))
                yield from _frame_graphs(system)

        path = folder / f"frames_{name}.lmdb"
        write(path, stream(), targets=[TOTAL_ENERGY], progress=progress)
        graphs: Any = systems
    else:
        graphs = map(_is2re_graph, good())
    path = folder / f"{name}.lmdb"
    write(path, graphs, targets=[ADSORPTION_ENERGY], total=size, progress=progress)
    return {"kept": size, **metadata["dropped"]}


def _metadata(name: str, seed: int) -> dict[str, Any]:
    plan = split_plan(name)
    return {
        "source": f"molflt data emt: ASE EMT, FIRE to fmax {FMAX:g} eV/Å",
        "licence": "MIT",
        "seed": seed,
        "split": name,
        "metals": METALS,
        "adsorbates": plan.adsorbates,
        "pairs": ["-".join(pair) for pair in plan.pairs],
        "held_out_adsorbates": HELD_OUT_ADSORBATES,
        "held_out_pairs": ["-".join(pair) for pair in HELD_OUT_PAIRS],
        "fmax_eV_per_A": FMAX,
    }


def _is2re_graph(system: System) -> Data:
    atoms = system.initial
    return make_graph(
        z=atoms.numbers,
        pos=atoms.positions,
        cell=atoms.cell.array,
        pbc=atoms.pbc,
        tags=atoms.get_tags(),
        fixed=held_atoms(atoms),
        sid=system.sid,
        targets={"energy": system.energy},
        pos_relaxed=system.relaxed,
        where=system.sid,
    )


def _frame_graphs(system: System) -> Iterator[Data]:
    for frame in system.frames:
        sid = f"{system.sid}-{frame.name}"
        yield make_graph(
            z=frame.atoms.numbers,
            pos=frame.atoms.positions,
            cell=frame.atoms.cell.array,
            pbc=frame.atoms.pbc,
            sid=sid,
            targets={"energy": frame.energy},
            forces=frame.forces,
            where=sid,
        )
