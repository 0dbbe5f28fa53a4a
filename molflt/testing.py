"""The laws a molflt model obeys, as functions that raise AssertionError.

Each takes ``energy``, a function of a graph (or batch) that returns one number per
graph, e.g. ``lambda data: model.normalised(data)["energy"]``. Errors are relative to
the largest value, so leave out offsets such as the energies of free atoms.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.stats import ortho_group
from torch import Tensor
from torch_geometric.data import Batch, Data

from molflt.graph.index import OF_ATOMS

Energy = Callable[[Data], Tensor]


def _close(actual: Tensor, expected: Tensor, rtol: float, law: str) -> None:
    actual, expected = actual.detach(), expected.detach()
    scale = expected.abs().max().clamp(min=1e-3)
    error = float((actual - expected).abs().max() / scale)
    if not error <= rtol:
        raise AssertionError(f"{law}: relative error {error:.2e} is above {rtol:.0e}")


def _changed(graph: Data, **fields: Tensor) -> Data:
    copy = graph.clone()
    for name, value in fields.items():
        copy[name] = value
    return copy


def _atom_fields(graph: Data, index: Tensor) -> dict[str, Tensor]:
    names = [name for name in (*OF_ATOMS, "fixed") if name in graph]
    return {name: graph[name][index] for name in names}


def assert_permutation_invariant(
    energy: Energy, graph: Data, seed: int = 0, rtol: float = 1e-5
) -> None:
    """Numbering the atoms differently changes nothing."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(graph.z)))
    permuted = _changed(graph, **_atom_fields(graph, order))
    _close(energy(permuted), energy(graph), rtol, "permutation of atoms")


def assert_batch_equals_singles(
    energy: Energy, graphs: Sequence[Data], rtol: float = 1e-5
) -> None:
    """A batch gives, in value, what its graphs give one by one."""
    together = energy(Batch.from_data_list(list(graphs)))
    alone = torch.cat([energy(Batch.from_data_list([graph])) for graph in graphs])
    _close(together, alone, rtol, "batch against singles")


def assert_graphs_do_not_interact(energy: Energy, graphs: Sequence[Data]) -> None:
    """The energy of one graph has exactly zero gradient on atoms of another."""
    batch = Batch.from_data_list(list(graphs))
    batch.pos = batch.pos.clone().requires_grad_(True)
    for index, value in enumerate(energy(batch)):
        (gradient,) = torch.autograd.grad(value, batch.pos, retain_graph=True)
        crossing = float(gradient[batch.batch != index].abs().sum())
        if crossing != 0:
            raise AssertionError(
                f"the energy of graph {index} has gradient {crossing:.2e} elsewhere"
            )


def assert_translation_invariant(
    energy: Energy, graph: Data, distance: float = 1000.0, rtol: float = 1e-5
) -> None:
    """Moving the system `distance` Å away changes nothing."""
    offset = distance * torch.tensor([0.6, -0.48, 0.64], dtype=graph.pos.dtype)
    _close(
        energy(_changed(graph, pos=graph.pos + offset)),
        energy(graph),
        rtol,
        f"translation by {distance:g} Å",
    )


def rotated(graph: Data, seed: int = 0, reflect: bool = False) -> Data:
    """Return the graph turned at random about the origin, mirrored if `reflect`."""
    matrix = ortho_group.rvs(3, random_state=seed)
    if (np.linalg.det(matrix) < 0) != reflect:
        matrix[0] *= -1
    turn = torch.from_numpy(matrix).to(graph.pos)
    fields = {"pos": graph.pos @ turn.T}
    if "cell" in graph:
        fields["cell"] = graph.cell @ turn.T.to(graph.cell)
    return _changed(graph, **fields)


def rotation_error(energy: Energy, graph: Data, num_rotations: int = 4) -> float:
    """Return the largest |E(rotated) - E| over random rotations and reflections.

    For models with free, box or triangle spectra, whose energy depends on orientation
    by design.
    """
    here = energy(graph).detach()
    errors = [
        (energy(rotated(graph, seed, reflect=bool(seed % 2))).detach() - here)
        .abs()
        .max()
        for seed in range(num_rotations)
    ]
    return float(torch.stack(errors).max())


def assert_rotation_invariant(
    energy: Energy, graph: Data, rtol: float = 1e-5, num_rotations: int = 4
) -> None:
    """Rotations and reflections change nothing (radial spectra)."""
    for seed in range(num_rotations):
        turned = rotated(graph, seed, reflect=bool(seed % 2))
        _close(energy(turned), energy(graph), rtol, "rotation")


def assert_wrapping_invariant(
    energy: Energy, graph: Data, seed: int = 0, rtol: float = 1e-5
) -> None:
    """Moving atoms by lattice vectors of the periodic directions changes nothing."""
    steps = np.random.default_rng(seed).integers(-2, 3, (len(graph.z), 3))
    steps = torch.from_numpy(steps) * graph.pbc[0]
    moved = graph.pos + steps.to(graph.pos) @ graph.cell[0].to(graph.pos)
    _close(energy(_changed(graph, pos=moved)), energy(graph), rtol, "wrapping")


def assert_cell_choice_invariant(
    energy: Energy, graph: Data, rtol: float = 1e-5
) -> None:
    """Another basis of the same lattice gives the same energy."""
    cell = graph.cell.clone()
    periodic = [k for k in range(3) if graph.pbc[0, k]]
    if len(periodic) < 2:
        raise ValueError("the law needs at least two periodic directions")
    a, b = periodic[:2]
    cell[0, b] = cell[0, b] + cell[0, a]
    _close(energy(_changed(graph, cell=cell)), energy(graph), rtol, "choice of cell")


def supercell(graph: Data, repeats: tuple[int, int, int]) -> Data:
    """Return the graph repeated along its lattice vectors."""
    cell = graph.cell[0]
    grid = torch.cartesian_prod(*(torch.arange(n) for n in repeats)).to(cell)
    index = torch.arange(len(graph.z)).repeat(len(grid))
    shift = (grid @ cell).repeat_interleave(len(graph.z), dim=0)
    fields = _atom_fields(graph, index)
    fields["pos"] = fields["pos"] + shift.to(graph.pos)
    return _changed(
        graph, **fields, cell=graph.cell * torch.tensor(repeats).to(cell)[None, :, None]
    )


def assert_supercell_law(
    energy: Energy,
    graph: Data,
    extensive: bool,
    repeats: tuple[int, int, int] = (2, 2, 1),
    rtol: float = 1e-5,
) -> None:
    """A supercell of k cells has k times the energy (extensive) or the same value."""
    factor = float(np.prod(repeats)) if extensive else 1.0
    repeated = energy(supercell(graph, repeats))
    _close(repeated, factor * energy(graph), rtol, "supercell")


def differences(
    function: Callable[[Tensor], float], shape: Sequence[int], step: float = 1e-4
) -> Tensor:
    """Return the derivative of a number by each entry of an array, at zero.

    Central differences of fourth order, float64; error of order step^4.
    """
    out = torch.zeros(*shape, dtype=torch.float64)
    for index in np.ndindex(*shape):
        unit = torch.zeros_like(out)
        unit[index] = step
        near = function(unit) - function(-unit)
        far = function(2 * unit) - function(-2 * unit)
        out[index] = (8 * near - far) / (12 * step)
    return out


def assert_forces_are_the_gradient(
    energy: Energy, forces: Tensor, graph: Data, atol: float, rtol: float = 1e-6
) -> None:
    """Forces (n, 3) are minus the finite differences of the energy of one graph.

    For models in float64; `atol` is in units of the forces.
    """

    def moved(shift: Tensor) -> float:
        return float(energy(_changed(graph, pos=graph.pos + shift)).detach())

    expected = -differences(moved, graph.pos.shape)
    torch.testing.assert_close(forces, expected, rtol=rtol, atol=atol)


def strained(graph: Data, eta: Tensor) -> Data:
    """Return the graph with positions and cell times 1 + the symmetric part of eta."""
    matrix = torch.eye(3, dtype=torch.float64) + (eta + eta.T) / 2
    return _changed(graph, pos=graph.pos @ matrix, cell=graph.cell @ matrix)


def assert_stress_is_the_strain_derivative(
    energy: Energy, stress: Tensor, graph: Data, atol: float, rtol: float = 1e-6
) -> None:
    """Stress (3, 3) times the volume is the derivative of the energy by the strain.

    For models in float64; `atol` is in units of the energy.
    """

    def deformed(eta: Tensor) -> float:
        return float(energy(strained(graph, eta)).detach())

    slope = stress * torch.linalg.det(graph.cell[0]).abs()
    expected = differences(deformed, (3, 3), step=1e-5)
    torch.testing.assert_close(slope, expected, rtol=rtol, atol=atol)


def log_slope(sizes: Sequence[float], errors: Sequence[float]) -> float:
    """Return the slope of log(error) against log(size): -1/2 for plain sampling."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
