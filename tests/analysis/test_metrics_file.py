"""Learning curves are read from the tables that Lightning writes."""

import pytest

from molflt.analysis import read_metrics
from molflt.errors import InputError

CSV = """epoch,lr,step,train/energy/mae_eV,val_id/energy/mae_eV
0,0.1,4,0.5,
0,,9,,0.4
1,0.1,14,0.3,
1,0.1,14,0.25,
"""


def test_metrics_of_lightning(tmp_path):
    (tmp_path / "metrics.csv").write_text(CSV)
    curves = read_metrics(tmp_path, "mae_eV")
    assert list(curves) == ["train/energy/mae_eV", "val_id/energy/mae_eV"]
    steps, values = curves["train/energy/mae_eV"]
    assert (steps.tolist(), values.tolist()) == ([5, 15], [0.5, 0.25])
    assert list(read_metrics(tmp_path / "metrics.csv")) == [
        "lr", "train/energy/mae_eV", "val_id/energy/mae_eV"
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "step,x\n1,abc\n", "step,x\nzero,1\n"])
def test_other_tables(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"table.csv, line 2"):
        read_metrics(path)


def test_a_binary_file_and_none(tmp_path):
    path = tmp_path / "metrics.csv"
    with pytest.raises(InputError, match="Cannot read"):
        read_metrics(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="Cannot read"):
        read_metrics(path)
