"""Energy and forces of one large system on several processes, or GPUs.

    torchrun --nproc-per-node 2 examples/large_system.py forces.ckpt water.extxyz

Every process reads the same files and holds a part of the atoms; near heads exchange
features of neighbours, far heads add up their Fourier sums. Across machines, give
torchrun its --nnodes and --rdzv-endpoint; nothing changes here.
"""

import argparse
import os
import time

import ase.io
import torch
import torch.distributed as dist
from ase.calculators.singlepoint import SinglePointCalculator

import molflt
from molflt import parallel
from molflt.admission import admit
from molflt.data.molecule import system_graph
from molflt.domain import Domain
from molflt.errors import MolfltError


def main(words: list[str] | None = None) -> None:
    """Evaluate a structure; the first process prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a model of a potential energy")
    parser.add_argument("structure", help="any file that ASE reads")
    parser.add_argument("-o", "--out", help="write energy and forces to this file")
    options = parser.parse_args(words)

    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    model = molflt.load(options.checkpoint).to(device).requires_grad_(False)
    atoms = ase.io.read(options.structure)
    # As `FLTCalculator` does: species that were not trained on and charges are refused,
    # and tags are read if the model knows of them.
    system, _ = admit(atoms, Domain([model]), "auto", options.structure)
    graph = system_graph(system).to(device)
    started = time.perf_counter()
    found = parallel.energy_and_forces(model, graph)
    seconds = time.perf_counter() - started

    if dist.get_rank() == 0:
        energy, forces = found.energy.item(), found.forces.cpu().numpy()
        print(
            f"{len(atoms):,} atoms on {dist.get_world_size()} processes: "
            f"energy {energy:.6f} eV, largest force {abs(forces).max():.4f} eV/Å, "
            f"{seconds:.1f} s"
        )
        if options.out:
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            ase.io.write(options.out, atoms)
    dist.destroy_process_group()


if __name__ == "__main__":
    try:
        main()
    except (MolfltError, OSError) as error:  # what a user gave, and a sentence on it
        raise SystemExit(str(error)) from None
