"""How far the linear `additive` form is from exact softmax.

    python benchmarks/additive_error.py        writes results/additive_error.json, .svg

Drops of water, one attention layer of 8 heads with random weights and inputs, float64.
The encoding f is scaled to a root mean square of 1 over all pairs, as large as logits
of trained Transformers; N stands for its estimate from r frequencies, and the error is

    rms(output - exact output) / rms(exact output)

averaged over draws. `features` rows estimate the exponential by m positive features as
well; `frequencies` rows do not (m = infinity), which is what m could reach at best.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from record import RESULTS, write_result
from systems import water
from torch import Tensor
from torch_geometric.data import Data

from molflt.analysis.style import COLOURS, DOUBLE, panels, save, styled
from molflt.encoder import FLTEncoder
from molflt.nn.additive import AdditiveAttention
from molflt.nn.geometry import Geometry
from molflt.nn.spectra.fourier_rpe import FourierRPE
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import RadialGaussianMixture

ATOMS = (30, 300)
FREQUENCIES = (8, 32, 128, 512)
FEATURES = (16, 64, 256, 1024)
DRAWS = 5
WIDTH, HEADS = 64, 8


def main(words: list[str] | None = None) -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--atoms", nargs="*", type=int, default=ATOMS)
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args(words)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows = [row for atoms in options.atoms for row in errors(atoms, options.draws)]
    finally:
        torch.set_default_dtype(before)
    for row in rows:
        print(row)
    print(write_result("additive_error", {"rows": rows, "draws": options.draws}))
    draw(rows)


@torch.no_grad()
def errors(atoms: int, draws: int) -> Iterator[dict[str, Any]]:
    """Yield the error of each number of frequencies and features."""
    geometry = drop(atoms)
    torch.manual_seed(0)
    mixture = RadialGaussianMixture(HEADS, RadialShells(8, 0.25, 0.02))
    x = torch.randn(len(geometry.batch), WIDTH)
    exact = attention(mixture, 1, None, 0)
    root = exact.encoding(geometry).square().mean().sqrt()
    mixture.coefficients.div_(root)
    weights = exact.state_dict()
    target = exact(x, geometry)
    scale = target.square().mean().sqrt()
    for r in FREQUENCIES:
        for m in (None, *FEATURES):
            found = []
            for seed in range(draws):
                module = attention(mixture, r, m, seed)
                known = {k: v for k, v in weights.items() if k in LEARNED}
                module.load_state_dict(known, strict=False)
                out = module(x, geometry) if m else softmax(module, x, geometry)
                found.append(float((out - target).square().mean().sqrt() / scale))
            yield {
                "atoms": len(geometry.batch),
                "frequencies": r,
                "features": m,  # None: the exponential itself
                "error": float(np.mean(found)),
                "error_std": float(np.std(found)),
            }


LEARNED = ("project.weight", "project.bias", "mix.weight", "mix.bias")


def drop(atoms: int) -> Geometry:
    """Return the geometry of a drop of water."""
    z, pos, _ = water(atoms)
    encoder = FLTEncoder(form="additive", num_layers=1)
    return encoder.geometry(Data(z=torch.as_tensor(z), pos=torch.as_tensor(pos)))


def attention(
    mixture: RadialGaussianMixture, r: int, m: int | None, seed: int
) -> AdditiveAttention:
    """Return a layer with this f; without features the exact one."""
    rpe = FourierRPE(mixture, r, seed=seed)
    estimator = "favor" if m else "softmax"
    return AdditiveAttention(WIDTH, rpe, estimator, m or 1, seed)


def softmax(module: AdditiveAttention, x: Tensor, geometry: Geometry) -> Tensor:
    """Return the attention with the estimate N in the place of f, and no features."""
    q, k, v = module.split(x)
    left, right = module.rpe(geometry.centred.to(geometry.dtype))
    logits = torch.einsum(
        "ihd,jhd->hij", torch.cat([q, left], dim=2), torch.cat([k, right], dim=2)
    )
    out = torch.einsum("hij,jhd->ihd", logits.softmax(dim=2), v)
    return module.mix(out.flatten(1))


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw the error against the number of features, a line for each of frequencies."""
    found = sorted({row["atoms"] for row in rows})
    with styled():
        figure, axes = panels(len(found), columns=len(found), width=DOUBLE)
        for axis, atoms in zip(axes, found, strict=True):
            for r, colour in zip(FREQUENCIES, COLOURS, strict=False):
                mine = [
                    row
                    for row in rows
                    if (row["atoms"], row["frequencies"]) == (atoms, r)
                ]
                best, *rest = mine
                values = [row["error"] for row in rest]
                axis.plot(FEATURES, values, "o-", color=colour, label=f"r = {r}")
                axis.axhline(best["error"], color=colour, linestyle=":")
            axis.set(xscale="log", yscale="log", title=f"{atoms} atoms")
            axis.set(xlabel="features m", ylabel="relative error")
        axes[0].legend()
        save(figure, RESULTS / "additive_error.svg")


if __name__ == "__main__":
    main()
