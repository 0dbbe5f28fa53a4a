import ablation_tables
import accuracy_tables
import curves
import numpy as np
import plan as planning
import pytest
from plan import FAMILIES, SHORT, options_of
from variants import ABLATIONS

from molflt.analysis.style import panels

WORSE = {"FLT": 1.0, "SchNet": 4.0, "PaiNN": 2.0, "PaiNN Bessel": 1.5, "ET": 3.0}
SPLITS = ("val_id", "val_ood_ads", "val_ood_cat", "val_ood_both")


def measured(run):
    """Return a made-up result: errors fall with time and the number of molecules."""
    error = 0.05 * WORSE.get(run.model, 5.0) * (run.train / 10_000) ** -0.7
    error *= (480 / run.seconds) * (1 + 0.1 * run.seed)
    metrics = {"test_mae": error, "test_force_mae": 2 * error}
    for split in SPLITS:
        metrics |= {f"{split}_mae": error, f"{split}_ewt": 0.25}
    return {
        **run.plain(),
        "options": options_of(run.model),
        "parameters": 123_456,
        "molecules_per_second": 200.0,
        "val": dict.fromkeys(("val_mae", "val_id_mae", "val_force_mae"), error),
        "test": metrics,
        "unit": "D" if run.target == "mu" else "eV",
        "machine": {"processor": "a processor"},
        "data": {
            "without_fluorine": True,
            "structures": dict.fromkeys(SPLITS, 285),
            "test": 1000,
            "val": 50,
        },
    }


def rows(table):
    lines = [row for row in table.splitlines() if row.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in lines]


@pytest.mark.parametrize("name", accuracy_tables.TABLES)
def test_tables_have_equal_rows(name):
    table = accuracy_tables.TABLES[name](measured)
    assert len({len(row) for row in rows(table)}) == 1
    assert len(rows(table)) > 2


PARTIAL = {"accuracy_qm9", "accuracy_u0", "accuracy_emt", "accuracy_rmd17"}
PARTIAL |= {"accuracy_ablations", "accuracy_vectors"}


@pytest.mark.parametrize("name", sorted(set(accuracy_tables.TABLES) - PARTIAL))
def test_no_table_while_a_run_is_open(name):
    table = accuracy_tables.TABLES[name]
    assert table(lambda run: None) is None
    needed = set()

    def note(run):
        needed.add(run)
        return measured(run)

    table(note)
    for missing in sorted(needed, key=lambda run: run.name)[::5]:
        part = lambda run, missing=missing: None if run == missing else measured(run)  # noqa: E731
        assert table(part) is None, missing.name


def test_a_molecule_waits_for_all_models():
    def read(run):
        last = (run.task, run.target, run.model) == ("rmd17", "aspirin", "ET")
        return None if last else measured(run)

    assert {row[0] for row in rows(accuracy_tables.rmd17(read))[2:]} == {"ethanol"}
    everything = rows(accuracy_tables.rmd17(measured))[2:]
    assert {row[0] for row in everything} == {"ethanol", "aspirin"}


def test_twelve_targets_with_the_best_in_bold():
    table = rows(accuracy_tables.qm9(measured))
    assert table[0] == ["target", "unit", *FAMILIES]
    assert len(table) == 2 + 12
    u0 = table[2]
    assert u0[:3] == ["U0", "meV", "**55.0 ± 5.0**"]
    mu = next(row for row in table if row[0] == "μ")
    assert mu[1:] == ["D", "**0.050**", "0.200", "0.075", "0.150"]


def test_open_runs_are_dashes_and_rows_with_them_have_no_winner():
    def read(run):
        done = run.task != "qm9" or run.model != "ET" or run.target in ("u0", "gap")
        return measured(run) if done and run.seed == 0 else None

    text = accuracy_tables.qm9(read)
    table = rows(text)
    assert table[2] == ["U0", "meV", "**50.0**", "200", "75.0", "150"]
    mu = next(row for row in table if row[0] == "μ")
    assert mu[1:] == ["D", "0.050", "0.200", "0.075", "–"]
    assert "One seed." in text
    assert "–: not run yet." in text
    assert "–: not run yet." not in accuracy_tables.qm9(measured)


def test_adsorption_tells_how_many_runs_are_open():
    assert "are open" not in accuracy_tables.emt(measured)
    text = accuracy_tables.emt(
        lambda run: None if run.model == "SchNet surface" else measured(run)
    )
    assert "4 runs of the plan are open." in text  # two sizes, two further seeds
    assert "SchNet surface" not in {row[0] for row in rows(text)}
    assert accuracy_tables.emt(lambda run: None) is None


def test_ablations_tell_how_many_runs_are_open():
    assert "are open" not in ablation_tables.ablations(measured)
    text = ablation_tables.ablations(
        lambda run: None if run.model in ("FLT 0+8", "FLT additive") else measured(run)
    )
    assert "2 runs of the plan are open." in text
    assert {row[1] for row in rows(text)} >= {"FLT", "FLT 6+2"}
    assert not {row[1] for row in rows(text)} & {"FLT 0+8", "FLT additive"}
    assert ablation_tables.ablations(lambda run: None) is None
    names = {name for part in ABLATIONS.values() for name in part}
    assert (
        ablation_tables.ablations(
            lambda run: None if run.model in names else measured(run)
        )
        is None
    )


def test_vectors_are_compared_where_both_runs_are_made():
    def read(run):
        open_ = run.model == planning.SCALARS and run.target not in ("u0", "mu")
        return None if open_ else measured(run)

    text = ablation_tables.vectors(read)
    assert [row[:4] for row in rows(text)[2:]] == [
        ["U0", "meV", "10,000", "8"],
        ["U0", "meV", "10,000", "60"],
        ["U0", "meV", "30,000", "60"],
        ["μ", "D", "10,000", "8"],
    ]
    assert "10 runs of the plan are open." in text
    assert rows(text)[2][4:] == ["**50.0**", "250"]
    assert len(rows(ablation_tables.vectors(measured))) == 2 + 14
    assert ablation_tables.vectors(lambda run: None) is None


def test_the_better_configuration_is_named():
    assert "PaiNN (PaiNN Bessel)" in accuracy_tables.u0(measured)
    chosen = [row for row in rows(accuracy_tables.grid(measured)) if row[-1] == "yes"]
    assert [row[0] for row in chosen] == ["FLT", "SchNet", "PaiNN Bessel", "ET"]


def test_time_and_seeds_of_u0_that_are_open():
    assert "–" not in accuracy_tables.u0(measured)

    def read(run):
        known = run.seed == 0 and (run.seconds == SHORT or run.model == "FLT")
        return measured(run) if known else None

    text = accuracy_tables.u0(read)
    cells = {row[0]: row[3:] for row in rows(text)[2:]}
    assert cells["FLT"] == ["50.0 meV", "6.7 meV"]
    assert cells["ET"] == ["150 meV", "–"]
    expected = "QM9 U0, test MAE, one thread (a processor). One seed. –: not run yet."
    assert expected in text
    assert "3 seeds of the short training" in accuracy_tables.u0(measured)


def test_learning_curves_have_their_slope():
    points = curves.curves(measured)
    assert set(points) == {"FLT"}
    sizes, errors = points["FLT"]
    assert sizes.tolist() == list(planning.CURVE)
    assert curves.slope(sizes, errors) == pytest.approx(-0.7)
    _, (axes,) = panels(1)
    curves.draw(axes, points)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[0] == "FLT, n$^{-0.70}$"
    assert np.allclose(axes.lines[1].get_ydata(), errors)


def test_unfinished_curves_are_not_drawn():
    last = max(planning.CURVE)
    points = curves.curves(
        lambda run: None if (run.model, run.train) == ("FLT", last) else measured(run)
    )
    assert "FLT" not in points
