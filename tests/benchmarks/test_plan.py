import dataclasses
from dataclasses import replace

import plan as planning
import pytest
from adsorption import ADSORPTION
from plan import FAMILIES, GRID, Run, choose, grid, plan


def result(run, value):
    val = {"val_mae": value, "val_force_mae": value}
    return {"val": val, "test": {"test_mae": 1 / value}}


def by_model(values):
    """Return a reader whose validation error depends on the model alone."""
    return lambda run: result(run, values.get(run.model, 1.0))


def nothing(run):
    return None


def test_nothing_but_the_grid_is_known_at_first():
    runs = plan(nothing)
    assert {run.target for run in runs if run.task == "qm9"} == {"u0"}
    assert {run.task for run in runs} == {"qm9", "emt", "rmd17"}
    own_grids = {run.seconds for run in runs if run.task == "rmd17"}
    assert own_grids == {planning.FORCES}
    assert {run.seconds for run in runs} - own_grids == {planning.SHORT}


@pytest.mark.parametrize("family", FAMILIES)
def test_grid_has_at_most_four_points_of_one_seed(family):
    runs = grid(family, by_model({}))
    assert len({(run.batch_size, run.lr) for run in runs}) <= 4
    assert {run.seed for run in runs} == {0}
    assert [run.target for run in runs].count("gap") == 2
    assert {run.target for run in grid(family, nothing)} == {"u0"}


def test_better_model_of_a_family_counts():
    assert choose("PaiNN", by_model({"PaiNN Bessel": 0.5})).model == "PaiNN Bessel"
    assert choose("PaiNN", by_model({"PaiNN": 0.5})).model == "PaiNN"


def test_both_targets_count_and_the_test_set_does_not():
    batch, good = GRID[0]

    def read(run):
        if (run.batch_size, run.lr) == GRID[0]:
            return result(run, {"u0": 0.02, "gap": 0.1}[run.target])
        if (run.batch_size, run.lr) == GRID[1]:
            return result(run, {"u0": 0.01, "gap": 0.3}[run.target])
        assert run.target == "u0", "a point that is third on U0 has no run of gap"
        return result(run, 0.03)

    chosen = choose("SchNet", read)
    assert (chosen.batch_size, chosen.lr) == (batch, good)


def test_no_choice_before_the_grid_is_complete():
    runs = grid("ET", by_model({}))
    for missing in runs:
        read = {run: result(run, 1.0) for run in runs if run != missing}.get
        assert choose("ET", read) is None


def test_adsorption_chooses_each_model_by_the_validation_set_of_known_systems():
    def read(run):
        good = run.batch_size == (16 if run.model.startswith("FLT") else 32)
        return {"val": {"val_id_mae": 0.1 if good else 0.2, "val_ood_ads_mae": 0.0}}

    runs = planning.best_adsorption(read)
    names = [name for names in ADSORPTION.values() for name in names]
    assert [run.model for run in runs] == [*names, "FLT no interpolation"]
    assert [run.batch_size for run in runs] == [16] * 4 + [32] * 6 + [16]
    # Of a model with one finished run it is that; of one without, nothing.
    missing = runs[2]
    rest = planning.best_adsorption(lambda r: None if r == missing else read(r))
    assert rest[2] == replace(missing, batch_size=32)
    rest = planning.best_adsorption(
        lambda r: None if r.model == missing.model else read(r)
    )
    assert rest == [run for run in runs if run != missing]


def test_choice_is_used_everywhere():
    runs = plan(by_model({"PaiNN Bessel": 0.5, "ET": 0.5}))
    read = by_model({"PaiNN Bessel": 0.5, "ET": 0.5})
    grids = {run for family in FAMILIES for run in grid(family, read)}
    later = [run for run in runs if run not in grids and run.task != "emt"]
    assert not {run.model for run in later} & {"PaiNN", "ET 256"}
    for family in FAMILIES:
        chosen = choose(family, by_model({"PaiNN Bessel": 0.5, "ET": 0.5}))
        found = {run.target for run in runs if run.model == chosen.model}
        assert found >= set(planning.QM9_TARGETS)
        used = {run.lr for run in later if run.model == chosen.model}
        assert chosen.lr in used


def test_runs_have_names_of_their_own():
    runs = plan(by_model({}))
    assert len({run.name for run in runs}) == len(runs)
    run = Run("qm9", "u0", "FLT")
    for field, other in {
        "task": "emt",
        "target": "gap",
        "model": "PaiNN",
        "seed": 1,
        "seconds": 1,
        "batch_size": 1,
        "lr": 1.0,
        "train": 1,
    }.items():
        assert dataclasses.replace(run, **{field: other}).name != run.name
    assert len(dataclasses.fields(run)) == 8


def test_u0_has_three_seeds_and_others_one():
    runs = plan(by_model({}))
    for family in FAMILIES:
        model = choose(family, by_model({})).model
        short = [r for r in runs if r.model == model and r.seconds == planning.SHORT]
        u0 = {r.seed for r in short if r.target == "u0" and r.train == 10_000}
        assert u0 == {0, 1, 2}
        assert {r.seed for r in short if r.target != "u0"} == {0}


def test_the_best_of_a_family_by_the_forces_of_the_validation_set_counts():
    rates = [lr for _, lr in planning.RATES]

    def read(run):
        if run.task != "rmd17" or run.model == "ET":
            return None
        wanted = run.lr == rates[1] and run.model not in ("FLT", "FLT HCO")
        return result(run, 0.5 if wanted else 1.0)

    best = planning.best_forces(read)
    assert set(best) == set(planning.MOLECULES)
    for runs in best.values():
        assert {family: run.model for family, run in runs.items()} == {
            "FLT": "FLT HCO smooth",
            "PaiNN": "PaiNN Bessel",
        }
        assert {run.lr for run in runs.values()} == {rates[1]}
    assert len(list(planning.forces({}))) == 20
    more = list(planning.forces_seeds({}))
    assert len({run.name for run in more}) == len(more) == 6
    # They are of points of the grid.
    firsts = {replace(run, seed=0) for run in more}
    assert firsts <= set(planning.forces({}))
