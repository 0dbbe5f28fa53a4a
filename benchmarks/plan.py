"""Which runs `accuracy.py` makes, in order of importance.

Batch size and learning rate are chosen once for each family of models: the best point
of a grid, by validation error on U0 and, for the best two of U0, gap, with one seed. A
peer's family also holds its published configuration. All other runs use that choice.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from adsorption import ADSORPTION, EMT_TRAIN, SEEDED
from molecules import FORCE_MODELS, MOLECULES, RATES, SEEDED_FORCES, TRAIN
from peers import PEERS
from variants import ABLATIONS, FLT

from molflt.encoder import FLTEncoder

QM9_TARGETS = (
    *("u0", "gap", "homo", "lumo", "mu", "alpha"),
    *("r2", "zpve", "u", "h", "g", "cv"),
)
GRID = ((32, 1e-3), (16, 1e-3))
"""Batch size and peak learning rate: at most four points."""
PUBLISHED = ("PaiNN Bessel", "ET 256")
"""Published configurations; one point, the last: most steps in the time."""
FAMILIES = {
    "FLT": ("FLT",),
    "SchNet": ("SchNet",),
    "PaiNN": ("PaiNN", "PaiNN Bessel"),
    "ET": ("ET", "ET 256"),
}
"""Models by family: the one of about our size, and the published configuration."""
LIKELY = {family: models[0] for family, models in FAMILIES.items()} | {
    "PaiNN": "PaiNN Bessel"
}
"""Models that are timed before a family has chosen."""
SHORT, FORCES, LONG = 480, 1800, 3600  # CPU seconds
CURVE = (1_000, 3_000, 10_000, 30_000)
SCALARS = "FLT no vectors"
"""The ablation that is run on all targets."""
Read = Callable[["Run"], dict[str, Any] | None]


@dataclass(frozen=True)
class Run:
    """One training: everything that decides its result, apart from the code."""

    task: str
    target: str
    model: str
    seed: int = 0
    seconds: int = SHORT
    batch_size: int = 32
    lr: float = 1e-3
    train: int = 10_000

    @property
    def name(self) -> str:
        """Name of the result file, without suffix."""
        model = self.model.lower().replace(" ", "_")
        return (
            f"{self.task}-{self.target}-{model}-n{self.train}-b{self.batch_size}"
            f"-lr{self.lr:g}-{self.seconds}s-seed{self.seed}"
        )

    def plain(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


DEFAULTS = {
    option.name: option.default
    for option in inspect.signature(FLTEncoder).parameters.values()
}

GONE = {"angular_channels": 0, "angular_order": 2}
"""Options that the encoder no longer has, switched off."""


def options_of(model: str) -> dict[str, Any]:
    """Return the options of a model, for its result file.

    Raises:
        SystemExit: There is no such model.
    """
    if model in FLT:
        return DEFAULTS | FLT[model]
    if model in PEERS:
        network, cutoff, options = PEERS[model]
        return {"network": network.__name__, "cutoff": cutoff, **options}
    raise SystemExit(f"There is no model {model!r}; there are {[*FLT, *PEERS]}.")


def same_options(now: dict[str, Any], then: dict[str, Any]) -> bool:
    """Whether recorded options of a model are those that it has now.

    An option of the encoder that came later counts as its default, which changes
    nothing; one that is gone counts if it was off.
    """
    earlier = {name: value for name, value in DEFAULTS.items() if name in now}
    known = GONE | now
    return all(known.get(name) == value for name, value in (earlier | then).items())


def grid(family: str, read: Read) -> list[Run]:
    """Return the grid of a family: all points on U0, then the best two on gap.

    Published configurations are further points, at the grid's last batch size and rate.

    Args:
        family: Key of `FAMILIES`.
        read: Returns the result of a finished run.
    """
    runs = [
        Run("qm9", "u0", model, batch_size=batch_size, lr=lr)
        for model in FAMILIES[family]
        for batch_size, lr in (GRID[-1:] if model in PUBLISHED else GRID)
    ]
    errors = {run: _val(run, read) for run in runs}
    if None in errors.values():
        return runs
    best = sorted(runs, key=lambda run: errors[run] or 0.0)[:2]
    return runs + [replace(run, target="gap") for run in best]


def choose(family: str, read: Read) -> Run | None:
    """Return the run of U0 with the best model, batch size and learning rate.

    The best has the least product of the validation errors of U0 and gap. Test errors
    have no part in it.

    Args:
        family: Key of `FAMILIES`.
        read: Returns the result of a finished run.

    Returns:
        None if the grid is not complete.
    """
    scores: dict[Run, float] = {}
    for run in grid(family, read):
        if run.target == "gap":
            key = replace(run, target="u0")
            errors = _val(key, read), _val(run, read)
            if errors[0] is None or errors[1] is None:
                return None
            scores[key] = errors[0] * errors[1]
    return min(scores, key=scores.__getitem__, default=None)


def _val(run: Run, read: Read) -> float | None:
    result = read(run)
    return None if result is None else float(result["val"]["val_mae"])


def plan(read: Read) -> list[Run]:
    """Return all runs that are known, most important first.

    Args:
        read: Returns the result of a finished run; the choice depends on the grid's.
    """
    grids = {family: grid(family, read) for family in FAMILIES}
    runs = [run for runs in grids.values() for run in runs]
    # All families at one point before the next one: the peers' numbers come early.
    runs.sort(key=lambda run: (run.target != "u0", run.model in PUBLISHED))
    chosen = {family: choose(family, read) for family in FAMILIES}
    known = {family: run for family, run in chosen.items() if run is not None}
    main = targets, seeds, adsorption, long, forces, adsorption_seeds
    for stage in (*main, curves, ablations, scalars, forces_seeds):
        runs.extend(stage(known))
    return list(dict.fromkeys(runs))


def first_runs() -> list[Run]:
    """Return a run of each workload that the choices are made from or will lead to."""
    runs = [run for family in FAMILIES for run in grid(family, lambda run: None)]
    for batch_size in dict.fromkeys(size for size, _ in GRID):
        likely = {
            family: Run("qm9", "u0", model, batch_size=batch_size)
            for family, model in LIKELY.items()
        }
        runs += [*adsorption(likely), *forces(likely)]
    return runs


def targets(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield all targets of QM9, one seed."""
    for target in QM9_TARGETS:
        for run in chosen.values():
            yield replace(run, target=target)


def seeds(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield three seeds of U0."""
    for seed in range(3):
        for run in chosen.values():
            yield replace(run, seed=seed)


def long(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield U0 with more time."""
    for run in chosen.values():
        yield replace(run, seconds=LONG)


def adsorption(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield EMT with a grid of its own."""
    models = [model for own in ADSORPTION.values() for model in own]
    for model, (batch, lr) in product(models, GRID):
        yield Run("emt", "energy", model, 0, SHORT, batch, lr, EMT_TRAIN)


def adsorption_seeds(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield three seeds of the best models of EMT, with the smaller batches."""
    for seed, model in product(range(3), SEEDED):
        yield Run("emt", "energy", model, seed, SHORT, *GRID[-1], EMT_TRAIN)


def best_adsorption(read: Read) -> list[Run]:
    """Return the finished run of each model with the least validation error on EMT."""
    runs = [*adsorption({}), *(run for run in adsorption_seeds({}) if run.seed == 0)]
    best = least(runs, "val_id_mae", lambda run: run.model, read)
    return list(best.values())


def forces(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield energies and forces, with a grid of each molecule."""
    models = [model for own in FORCE_MODELS.values() for model in own]
    for molecule, (batch, lr), model in product(MOLECULES, RATES, models):
        yield Run("rmd17", molecule, model, 0, FORCES, batch, lr, TRAIN)


def forces_seeds(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield two more seeds of energies and forces, where one is too few."""
    for molecule, points in SEEDED_FORCES.items():
        for seed, (model, (batch, lr)) in product((1, 2), points):
            yield Run("rmd17", molecule, model, seed, FORCES, batch, lr, TRAIN)


def best_forces(read: Read) -> dict[str, dict[str, Run]]:
    """Return the finished run that counts, by molecule and family.

    It has the least validation error of the forces.
    """
    families = {model: name for name, own in FORCE_MODELS.items() for model in own}
    return {
        molecule: least(
            (run for run in forces({}) if run.target == molecule),
            "val_force_mae",
            lambda run: families[run.model],
            read,
        )
        for molecule in MOLECULES
    }


def least(
    runs: Iterable[Run], metric: str, name: Callable[[Run], str], read: Read
) -> dict[str, Run]:
    """Return the finished run with the least validation error, of each name."""
    errors = {
        run: float(result["val"][metric])
        for run in runs
        if (result := read(run)) is not None
    }
    best: dict[str, Run] = {}
    for run, error in errors.items():
        if name(run) not in best or error < errors[best[name(run)]]:
            best[name(run)] = run
    return best


def curves(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield learning curves of U0, with the time of the long runs."""
    for train in CURVE:
        if "FLT" in chosen:
            yield replace(chosen["FLT"], seconds=LONG, train=train)


def ablations(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield U0 with one part of our model changed at a time."""
    if "FLT" in chosen:
        for names in ABLATIONS.values():
            for name in names:
                yield replace(chosen["FLT"], model=name)


def scalars(chosen: dict[str, Run]) -> Iterator[Run]:
    """Yield our model without vectors: U0 with more time and molecules, then others."""
    if "FLT" in chosen:
        run = replace(chosen["FLT"], model=SCALARS)
        for train in CURVE[2:]:
            yield replace(run, seconds=LONG, train=train)
        for target in QM9_TARGETS[1:]:
            yield replace(run, target=target)
