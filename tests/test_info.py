import hashlib
import json
from pathlib import Path

import molflt
from molflt.cli import main
from molflt.pretrained import checkpoint_path


def test_a_checkpoint_is_described(capsys):
    assert main(["info", "emt-is2re"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = {" ".join(line.split()) for line in lines}
    content = Path(checkpoint_path("emt-is2re")).read_bytes()
    assert f"SHA-256 {hashlib.sha256(content).hexdigest()}" in words
    assert {"Target energy", "unit eV", "kind relaxed", "Encoder", "Origin"} <= words
    assert "readout atoms, sum, between adsorbate and slab" in words
    assert "elements H, C, N, O, Al, Ni, Cu, Pd, Ag, Pt, Au" in words
    model = molflt.load("emt-is2re")
    assert f"parameters {model.num_parameters:,}" in words
    for name, value in model.origin["errors"].items():
        assert f"errors, {name} {value:.6g}" in words


def test_json_is_the_record_without_its_tensors(capsys):
    assert main(["info", "--json", "emt-is2re", "emt-forces"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["file"] for each in found] == ["emt-is2re", "emt-forces"]
    for each in found:
        model = molflt.load(each["file"])
        assert each["parameters"] == model.num_parameters
        assert each["encoder"] == model.encoder.config
        assert each["origin"] == model.origin
        assert [spec["name"] for spec in each["targets"]] == [
            spec.name for spec in model.targets
        ]
        assert "state" not in each


def test_what_is_no_checkpoint_is_named(tmp_path, capsys):
    path = tmp_path / "text.ckpt"
    path.write_text("no checkpoint")
    assert main(["info", str(path)]) == 1
    error = capsys.readouterr().err
    assert f"{path} is not a molflt checkpoint" in error
    assert len(error.splitlines()) == 1
