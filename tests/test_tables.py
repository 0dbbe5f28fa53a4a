"""Tables of errors on the terminal."""

import pytest

from molflt.commands.tables import metrics_table


@pytest.mark.parametrize(
    ("metric", "heading"),
    [
        ("mae_eV", r"MAE \[eV]"),
        ("force_mae_eV_per_A", r"force MAE \[eV/A]"),
        ("stress_mae_eV_per_A3", r"stress MAE \[eV/A3]"),
        ("mae_cal_per_mol_K", r"MAE \[cal/mol/K]"),
        ("mae_a0_3", r"MAE \[a0^3]"),
        ("ewt_percent", "EwT [%]"),
    ],
)
def test_columns_name_errors_with_their_units(metric, heading):
    table = metrics_table({f"val/energy/{metric}": 0.5, "train/loss": 1.0})
    assert table.columns[-1].header == heading
    assert table.row_count == 1
