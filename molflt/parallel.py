"""One large system on several processes: each holds a part of its atoms.

Start a script with ``torchrun --nproc-per-node 2 script.py``, and in it::

    torch.distributed.init_process_group()
    model = molflt.load("model.ckpt")
    found = molflt.parallel.energy_and_forces(model, atoms_to_graph(atoms))

Every process calls the same functions with the same model and the same structure, and
each is given the same results: those of `FLTModel.energy_and_forces` with
``path="linear"``, up to rounding. Work and memory of the layers are divided; positions
and the Fourier transforms of far heads on their grids are not.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch_geometric.data import Data

from molflt.encoder import FLTEncoder
from molflt.errors import UsageError
from molflt.gradients import deformable, potential_target
from molflt.graph.index import MODEL_FIELDS, OF_ATOMS
from molflt.graph.order import spatial_order
from molflt.graph.partition import WrappedSystem
from molflt.graph.subsurface import part_of
from molflt.model import FLTModel
from molflt.nn.exchange import Ranks
from molflt.nn.gradients import EnergyForces
from molflt.nn.readout.base import AtomReadout, Sites
from molflt.nn.share import Share


def energy(
    model: FLTModel, data: Data, name: str | None = None, *, group: Any = None
) -> Tensor:
    """Return a target that is a sum or mean over atoms (1,), in its unit, float64.

    Args:
        model: The model, the same on all processes.
        data: The structure, the same on all processes.
        name: The target; None: the only one.
        group: The processes, a `torch.distributed.ProcessGroup`; None: all.

    Raises:
        UsageError: As `energy_and_forces`; or there are several targets.
    """
    if name is None and len(model.targets) > 1:
        known = ", ".join(spec.name for spec in model.targets)
        raise UsageError(f"One of the targets has to be named: {known}.")
    name = name or model.targets[0].name
    group = _agreed(model, data, name, group)
    with torch.no_grad():
        total = _sum(_own_part(model, data, name, group), group)
        return model.physical(name, total, data)


def energy_and_forces(
    model: FLTModel,
    data: Data,
    name: str | None = None,
    *,
    stress: bool = False,
    group: Any = None,
) -> EnergyForces:
    """Return a potential energy, the forces on all atoms and perhaps the stress.

    Args:
        model: The model, the same on all processes.
        data: The structure, the same on all processes.
        name: The target; None: the only one that is a potential energy.
        stress: Also return (1/V) dE/d(strain).
        group: The processes, a `torch.distributed.ProcessGroup`; None: all.

    Raises:
        InputError: Stress of a structure without a periodic cell.
        UsageError: `torch.distributed` is not initialised; models, structures or
            options of the processes differ; there are several structures; the target
            has no forces or is no sum over atoms; the model's form is `additive`.
    """
    name = potential_target(model.targets, name).name
    group = _agreed(model, data, name, group, f"stress={stress}")
    with torch.inference_mode(False), torch.enable_grad():
        moved, deformation = deformable(data, stress=stress)
        part = _own_part(model, moved, name, group)
        # By all positions: features of these atoms are in other processes' energies.
        slopes = deformation.derivatives(part.double() * model.readout(name).std)
    total = _sum(part.detach(), group)
    forces, tension = slopes
    return EnergyForces(
        model.physical(name, total, data),
        _sum(forces, group),
        None if tension is None else _sum(tension, group),
        total,
    )


def share_of(encoder: FLTEncoder, data: Data, group: Any) -> tuple[Share, Tensor]:
    """Return this process's atoms and neighbours, and their rows in the structure.

    Args:
        encoder: The encoder whose pairs are wanted.
        data: The structure, the same on all processes.
        group: The processes.
    """
    cell, pbc = data.get("cell"), data.get("pbc")
    system = WrappedSystem(data.pos, cell, pbc, encoder.cutoff)
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    owner = system.bisected(size)
    dist.broadcast(owner, dist.get_global_rank(group, 0), group)
    mine = owner == rank
    pairs = system.pairs_of(mine)
    own = mine.nonzero().squeeze(1)
    others = torch.cat([pairs.first, pairs.second]).unique()
    others = others[~mine[others]]
    if not len(own):  # an atom of another, so that no array of rows is empty
        others = owner.new_zeros(1)
    others = others[owner[others].argsort(stable=True)]
    index = torch.cat([own, others])
    local = torch.empty_like(owner)
    local[index] = torch.arange(len(index), device=index.device)
    wanted = owner[others].bincount(minlength=size)
    sent, num_sent = _requested(others, wanted, group)
    most = int(owner.bincount(minlength=size).max())
    ranks = Ranks(group, most, local[sent], num_sent, wanted.tolist())
    dtype = encoder.norm.weight.dtype
    share = Share(data.pos[index], len(own), data.pos, cell, pbc, dtype, ranks)
    share.set_pairs(local[pairs.first], local[pairs.second], pairs.shift)
    return share, index


def _requested(atoms: Tensor, counts: Tensor, group: Any) -> tuple[Tensor, list[int]]:
    """Return the atoms that other processes want of this one, and how many each.

    Args:
        atoms: Atoms that this process wants, sorted by process.
        counts: How many of each process.
        group: The processes.
    """
    theirs = torch.empty_like(counts)
    dist.all_to_all_single(theirs, counts, group=group)
    num_sent = theirs.tolist()
    sent = atoms.new_empty(sum(num_sent))
    dist.all_to_all_single(sent, atoms, num_sent, counts.tolist(), group=group)
    return sent, num_sent


@dataclass(frozen=True)
class _OwnSites(Sites):
    """Some atoms of a system of `num_atoms`."""

    num_atoms: int = 0

    def size(self) -> Tensor:
        return torch.full_like(self.z, self.num_atoms, dtype=torch.float64)


def _own_part(model: FLTModel, data: Data, name: str, group: Any) -> Tensor:
    """Return the own atoms' part of a target, less its offset, over std (1,)."""
    data = model.encoder.seen(data)
    order = spatial_order(data, model.encoder.cutoff)
    if order is not None:
        data = part_of(data, order)
    share, index = share_of(model.encoder, data, group)
    fields = {key: data[key][index] for key in OF_ATOMS if key in data}
    x, vec = model.encoder(Data(**fields), geometry=share, path="linear")
    own = {key: value[: share.num_own] for key, value in fields.items()}
    sites = _OwnSites(
        **own,
        batch=share.batch[: share.num_own],
        num_graphs=1,
        num_atoms=share.num_atoms,
    )
    x, vec = x[: share.num_own], None if vec is None else vec[: share.num_own]
    return model.readout(name)(x, vec, sites)


def _sum(value: Tensor, group: Any) -> Tensor:
    dist.all_reduce(value, group=group)
    return value


def _agreed(
    model: FLTModel, data: Data, name: str, group: Any, options: str = ""
) -> Any:
    """Return the group, if its processes are able and about to do the same.

    Raises:
        UsageError: They are not.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise UsageError(
            "Atoms are split over the processes of torch.distributed, which is not "
            "initialised; start the script with torchrun and call "
            "torch.distributed.init_process_group() first."
        )
    group = dist.group.WORLD if group is None else group
    fields = [data[key] for key in MODEL_FIELDS if key in data]
    digests = {
        "models": _digest(model.state_dict().values(), str(model.encoder.config)),
        "structures": _digest(fields),
        "targets or options": _digest([], f"{name} {options}"),
    }
    device = data.pos.device
    numbers = torch.tensor(list(digests.values()), device=device)
    ends = torch.cat([numbers, -numbers])
    dist.all_reduce(ends, dist.ReduceOp.MAX, group)
    largest, smallest = ends.chunk(2)
    for what, same in zip(digests, (largest == -smallest).tolist(), strict=True):
        if not same:
            raise UsageError(
                f"Processes were given different {what}; all that split the atoms of "
                "a structure need the same."
            )
    if data.batch is not None and bool((data.batch != 0).any()):
        raise UsageError("Atoms of one structure can be split, not those of a batch.")
    if model.encoder.form != "masked":
        raise UsageError(
            f"Atoms cannot be split with form={model.encoder.form!r}, only with "
            "form='masked'."
        )
    is_sum = isinstance(model.readout(name), AtomReadout)
    if not is_sum or model.target_spec(name).interaction:
        raise UsageError(
            f"Target {name!r} is no plain sum or mean over atoms; they cannot be split."
        )
    return group


def _digest(tensors: Iterable[Tensor], words: str = "") -> int:
    """Return a number that differs where the contents do, and fits in int64."""
    known = hashlib.blake2b(words.encode(), digest_size=7)
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        known.update(f"{plain.dtype} {tuple(plain.shape)}".encode())
        known.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return int.from_bytes(known.digest(), "big")
