"""On a GPU the same numbers as on a processor, of everything that is computed there.

Where there is none, a pretended one finds tensors that are on the wrong device, and
says where the host would wait.
"""

import copy

import numpy as np
import pytest
import torch
from ase.io import read, write

from molflt.calculator import FLTCalculator
from molflt.cli import main
from molflt.data.batching import collate
from molflt.data.molecule import atoms_to_graph

from .gpu_cases import ENCODERS, SYSTEMS, crystals, make_model, molecules
from .pretend_gpu import DEVICE, PretendGPU

# Random projections and elements that are not told apart are as good as others here.
pytestmark = pytest.mark.filterwarnings("ignore:(The d|D)ensity features")


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request):
    """A GPU, or one in name only."""
    if request.param == "cuda":
        yield torch.device("cuda")
        return
    with PretendGPU():
        yield DEVICE


def twin(model, device):
    """The same model on another device."""
    return copy.deepcopy(model).to(device)


def learned(model):
    return [p for p in model.parameters() if p.requires_grad]


def close(found, expected, rtol):
    expected = expected.detach().double()
    atol = rtol * float(expected.abs().max().clamp(min=1e-3))
    torch.testing.assert_close(
        found.detach().cpu().double(), expected.cpu(), rtol=0, atol=atol
    )


CASES = [
    (name, system, path)
    for name in ENCODERS
    for system in SYSTEMS
    for path in ("dense", "linear")
    if name != "additive" or (system, path) == ("open", "linear")
]


@pytest.mark.parametrize(("name", "system", "path"), CASES)
@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-3)]
)
def test_values_and_gradients(name, system, path, dtype, rtol, gpu):
    model = make_model(name, dtype, system)
    batch = collate([atoms_to_graph(atoms) for atoms in SYSTEMS[system]()])
    # Transforms have errors of their own, the same whatever the device.
    exact = not (path == "linear" and model.encoder.config["num_far_heads"])
    rtol = rtol if exact else max(rtol, 1e-4)
    found = []
    for each in (model, twin(model, gpu)):
        given = batch.clone().to(next(each.parameters()).device)
        total = sum(v.sum() for v in each.normalised(given, path).values())
        slopes = torch.autograd.grad(total, learned(each), materialize_grads=True)
        found.append((total, slopes))
    (value, slopes), (on_gpu, slopes_on_gpu) = found
    close(on_gpu, value, rtol)
    for slope, twin_of_it in zip(slopes, slopes_on_gpu, strict=True):
        close(twin_of_it, slope, 10 * rtol)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("path", ["dense", "linear"])
@pytest.mark.parametrize("name", ["near", "both", "matrices", "density"])
def test_forces_and_training_on_them(name, path, system, gpu):
    model = make_model(name, system=system)
    batch = collate([atoms_to_graph(atoms) for atoms in SYSTEMS[system]()])
    found = []
    for each in (model, twin(model, gpu)):
        given = batch.clone().to(next(each.parameters()).device)
        result = each.energy_and_forces(
            given, "energy", create_graph=True, path=path, stress=system == "periodic"
        )
        loss = result.forces.square().sum()
        slopes = torch.autograd.grad(loss, learned(each), materialize_grads=True)
        found.append((result.forces, slopes))
    (forces, slopes), (on_gpu, slopes_on_gpu) = found
    rtol = 1e-8 if name != "both" else 1e-3
    close(on_gpu, forces, rtol)
    for slope, twin_of_it in zip(slopes, slopes_on_gpu, strict=True):
        close(twin_of_it, slope, 10 * rtol)


def test_streamed_layers(monkeypatch, gpu):
    from molflt.nn.near.paths import COSTS

    model = make_model("near")
    batch = collate([atoms_to_graph(atoms) for atoms in molecules()])
    whole = model.energy_and_forces(batch, "energy", path="linear")
    monkeypatch.setattr(COSTS, "stream_edges", 0)
    streamed = twin(model, gpu).energy_and_forces(
        batch.clone().to(gpu), "energy", path="linear"
    )
    close(streamed.forces, whole.forces, 1e-9)


@pytest.mark.gpu
def test_mixed_precision_is_near():
    model = twin(make_model("density", torch.float32), "cuda")
    batch = collate([atoms_to_graph(atoms) for atoms in molecules()]).to("cuda")
    exact = model.normalised(batch)["energy"]
    with torch.autocast("cuda", torch.bfloat16):
        mixed = model.normalised(batch)["energy"]
    close(mixed, exact, 0.1)


def test_calculator(gpu):
    model = make_model("near", torch.float32)
    model.set_statistics(
        "energy",
        {"element_reference": {29: 0.0, 8: 0.0}, "mean": 0.0, "std": 1.0}
        | {"elements": [8, 29], "pbc_seen": [[True, True, False]]}
        | {"moment_reference": {}},
    )
    forces = []
    for device in ("cpu", gpu):
        atoms = crystals()[0]
        atoms.calc = FLTCalculator(copy.deepcopy(model), device=device)
        forces.append(atoms.get_forces())
    np.testing.assert_allclose(*forces, atol=1e-3 * np.abs(forces[0]).max())


def test_commands(gpu, tmp_path, capsys):
    given = tmp_path / "slabs.extxyz"
    slab = crystals()[0]
    slab.info.clear()  # what ASE's builder notes there cannot be written
    write(given, slab)
    energies = []
    for device in ("cpu", gpu.type):
        out = tmp_path / f"{device}.extxyz"
        options = ["-o", str(out), "--device", device]
        assert main(["predict", "emt-forces", str(given), *options]) == 0
        energies.append(read(out).info["predicted_energy"])
    assert energies[1] == pytest.approx(energies[0], abs=1e-4)
    out = tmp_path / "relaxed.extxyz"
    options = ["-o", str(out), "--fmax", "0.5", "--device", gpu.type]
    assert main(["relax", "emt-forces", str(given), *options]) == 0
    assert np.abs(read(out).get_forces()).max() < 0.5
    page = tmp_path / "page.html"
    options = ["-o", str(page), "--device", gpu.type]
    assert main(["inspect", "emt-is2re", str(given), *options]) == 0
    assert page.stat().st_size > 10_000
