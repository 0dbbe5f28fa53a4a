"""One system on several processes equals the same system on one."""

import datetime
import functools
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ase import Atoms
from ase.build import bulk, molecule

from molflt import parallel
from molflt.data.molecule import atoms_to_graph
from molflt.errors import MolfltError, UsageError
from molflt.graph import order
from molflt.nn.far import sums as far_sums
from molflt.nn.far.cost import FarCosts
from molflt.nn.near import paths
from molflt.targets import TargetSpec
from tests.builders import model_of_kinds

PATIENCE = datetime.timedelta(seconds=120)


def metal(*pbc, repeat=(4, 3, 3)):
    """144 atoms, more in one half of the box than in the other."""
    atoms = bulk("Cu", "fcc", 4.2, cubic=True) * repeat
    atoms.rattle(0.2, seed=1)
    atoms.set_cell(atoms.cell @ np.array([[1, 0.1, 0], [0, 1, 0.2], [0, 0, 1]]), True)
    atoms.positions[:, 0] *= (abs(atoms.positions[:, 0]) / atoms.cell[0, 0]) ** 0.3
    atoms.pbc = pbc
    if not any(pbc):
        atoms.cell[:] = 0
    return atoms


def scattered():
    """Water, and atoms farther away than near heads reach."""
    return molecule("H2O") + Atoms("CO", [[0, 0, 30.0], [0, 9.0, 0]])


@dataclass
class Case:
    atoms: object
    options: dict = field(default_factory=dict)
    dtype: torch.dtype = torch.float64
    stress: bool = False
    stream_edges: int = 10**9
    far: FarCosts = field(default_factory=FarCosts)
    chunk: int = 2**26
    least_ordered: int = order.LEAST_ATOMS

    def model(self):
        options = {"far_band": 0.3, "far_min_width": 0.04, "far_components": 4}
        options |= {"cutoff": 4.0, **self.options}
        extensive = options.pop("extensive", True)
        mean = TargetSpec("mean", extensive=False, kind="property")
        model = model_of_kinds("potential", options=options, targets=[mean])
        if not extensive:
            mean = TargetSpec("e0", extensive=False)
            model = model_of_kinds(options=options, targets=[mean])
        for layer in model.encoder.layers:
            if layer.attention.heads.far is not None:
                layer.attention.heads.far.costs = self.far
        return model.to(self.dtype)

    def graph(self):
        atoms = self.atoms()
        atoms.positions += 100.0  # far outside of the cell, if there is one
        return atoms_to_graph(atoms)

    @contextmanager
    def settings(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paths.COSTS, "stream_edges", self.stream_edges)
            patch.setattr(far_sums, "CHUNK", self.chunk)
            patch.setattr(far_sums, "KEPT", min(far_sums.KEPT, self.chunk))
            patch.setattr(order, "LEAST_ATOMS", self.least_ordered)
            yield


def periodic(*pbc):
    return functools.partial(metal, *pbc)


OPEN, BULK = periodic(False, False, False), periodic(True, True, True)
SLAB, WIRE = periodic(True, True, False), periodic(False, False, True)
WAVES, NUFFT = FarCosts(node=float("inf")), FarCosts(wave=float("inf"))
SINGLE = torch.float32
CASES = {
    "open": Case(OPEN),
    "bulk": Case(BULK, stress=True),
    "slab": Case(SLAB, stress=True),
    "wire": Case(WIRE, stress=True),
    "near heads only": Case(SLAB, {"num_far_heads": 0}, stress=True),
    "far heads only": Case(OPEN, {"num_near_heads": 0}),
    "scalars only": Case(BULK, {"vector_width": 0}),
    "matrices": Case(SLAB, {"matrix_head_width": 4}),
    "density": Case(SLAB, {"density_elements": "OCu"}, stress=True),
    "waves": Case(SLAB, far=WAVES),
    "transforms": Case(SLAB, far=NUFFT),
    "transforms in chunks": Case(OPEN, far=NUFFT, chunk=2**10),
    "streamed": Case(SLAB, {"matrix_head_width": 4}, stream_edges=1, stress=True),
    "in the order of space": Case(SLAB, least_ordered=1, stress=True),
    "streamed on some": Case(OPEN, stream_edges=1700),
    "mean": Case(OPEN, {"extensive": False}),
    "single precision": Case(OPEN, dtype=SINGLE),
    "single precision, slab": Case(SLAB, dtype=SINGLE, stress=True),
    "single precision, streamed": Case(BULK, dtype=SINGLE, stream_edges=1),
    "an atom or two each": Case(scattered),
    "an atom for one": Case(functools.partial(Atoms, "C"), far=NUFFT),
    "an atom of its own images": Case(functools.partial(bulk, "Cu"), stress=True),
}
TOLERANCE = {torch.float64: 1e-10, SINGLE: 1e-5}


def result(case, group=None):
    """What one or all processes find."""
    model, graph = case.model(), case.graph()
    with case.settings():
        if group is None:
            found = model.energy_and_forces(
                graph, "e0", path="linear", stress=case.stress
            )
            return [*found]
        energy = parallel.energy(model, graph, "e0", group=group)
        found = parallel.energy_and_forces(
            model, graph, "e0", stress=case.stress, group=group
        )
        # torch multiplies otherwise where gradients are wanted: the last digit differs.
        torch.testing.assert_close(energy, found.energy, rtol=1e-7, atol=1e-9)
        return [*found]


def refused(rank, size):
    """The message of each mistake, on this process."""
    case = CASES["open"]
    model, graph = case.model(), case.graph()
    other = case.model()
    if rank == size - 1:
        with torch.no_grad():
            other.encoder.norm.weight[0] += 1e-6
    moved = graph.clone()
    moved.pos[0, 0] += 1e-9 * rank
    options = {"form": "additive", "vector_width": 0, "num_far_heads": 2}
    additive = model_of_kinds("potential", options=options)
    dipole = TargetSpec("mu", "Debye", "property", extensive=False, readout="dipole")
    two = graph.clone()
    two.batch = (torch.arange(len(graph.z)) > 9).long()
    mistakes = {
        "models": (other, graph, "e0"),
        "structures": (model, moved, "e0"),
        "targets": (model, graph, ["e0", "mean"][rank == 0]),
        "additive": (additive, graph, "e0"),
        "dipole": (model_of_kinds(targets=[dipole]), graph, "mu"),
        "batch": (model, two, "e0"),
        "unnamed": (model, graph),
    }
    messages = {}
    for name, words in mistakes.items():
        try:
            parallel.energy(*words)
        except MolfltError as error:
            messages[name] = str(error)
    return messages


def work(rank, size, folder):
    """Everything that the processes of one group do, results written by each."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    found = {name: result(case, dist.group.WORLD) for name, case in CASES.items()}
    torch.save(
        {"results": found, "refused": refused(rank, size)}, folder / f"{rank}.pt"
    )
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    processes = mp.spawn(work, (request.param, folder), request.param, join=False)
    try:
        deadline = time.monotonic() + 300
        while not processes.join(timeout=1):
            assert time.monotonic() < deadline, "the processes wait for each other"
    finally:
        for process in processes.processes:
            process.kill()
    return [
        torch.load(folder / f"{rank}.pt", weights_only=True)
        for rank in range(request.param)
    ]


@pytest.fixture(scope="module")
def alone():
    return functools.cache(lambda name: result(CASES[name]))


@pytest.mark.parametrize("name", CASES)
def test_processes_find_what_one_finds(ranks, alone, name):
    tolerance = TOLERANCE[CASES[name].dtype]
    expected = alone(name)
    for rank in ranks:
        for value, first, one in zip(
            rank["results"][name], ranks[0]["results"][name], expected, strict=True
        ):
            if one is None:
                assert value is None
                continue
            assert torch.equal(value, first)  # every process is given the same
            torch.testing.assert_close(value, one, rtol=tolerance, atol=tolerance)


def test_mistakes_are_refused_by_every_process(ranks):
    words = {
        "models": "different models",
        "structures": "different structures",
        "targets": "different targets",
        "additive": "form='additive'",
        "dipole": "'mu' is no plain sum",
        "batch": "not those of a batch",
        "unnamed": "e0, mean",
    }
    for rank in ranks:
        assert rank["refused"].keys() == words.keys()
        for name, text in words.items():
            assert text in rank["refused"][name]


def test_without_a_group_it_says_how_to_start():
    case = CASES["an atom for one"]
    with pytest.raises(UsageError, match="torchrun"):
        parallel.energy_and_forces(case.model(), case.graph(), "e0")
