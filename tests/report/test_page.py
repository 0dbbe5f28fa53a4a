import json
import re

import numpy as np
import pytest

from molflt.errors import UsageError
from molflt.report import render, report_content
from molflt.targets import TargetSpec
from tests.analysis.conftest import build_model, molecule_graph, slab_graph

NASTY = "</script><img src=x onerror=alert(1)>{{style}}&\u2028'\""


@pytest.fixture(scope="module")
def content():
    return report_content(build_model(), slab_graph(), structure=NASTY, tags=NASTY)


def test_what_strangers_chose_is_escaped(content):
    page = render(content, [(NASTY, NASTY)], NASTY)
    assert "<img" not in page
    assert page.count("</script>") == 2  # those of the template
    (text,) = re.findall(r'id="content">(.*?)</script>', page, re.DOTALL)
    assert json.loads(text)["structure"] == NASTY
    assert "{{style}}" in page  # text from outside is no template
    assert not re.search(r"\{\{(?!style)\w+\}\}", page)


def test_the_page_asks_for_nothing_from_outside(content):
    page = render(content, [], "")
    addresses = set(re.findall(r"https?://[^\"'\s]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "default-src 'none'" in page


def test_contributions_sum_to_the_energy(content):
    value = content["target"]["value"]
    np.testing.assert_allclose(sum(content["terms"]), value, atol=1e-5)
    assert len(content["forces"]) == 3 * 6
    assert "sum to the prediction within" in content["notes"][0]


def test_it_begins_with_the_heaviest_atom_of_the_adsorbate(content):
    assert content["start"] == 4  # O of CO on Cu
    molecule = report_content(build_model(), molecule_graph())
    assert molecule["z"][molecule["start"]] == 8


def test_curves_are_scaled_and_of_every_layer(content):
    groups = [(curve["layer"], curve["group"]) for curve in content["curves"]]
    assert groups == [(0, "near"), (0, "far"), (1, "near"), (1, "far")]
    for curve in content["curves"]:
        for row in (*curve["f"], *curve["g"]):
            assert np.abs(row).max() == pytest.approx(1.0)


@pytest.mark.parametrize("spectrum", ["radial", "matern", "free", "box"])
def test_curves_that_are_means_over_directions_are_called_so(spectrum):
    model = build_model(form="additive", spectrum=spectrum)
    page = render(report_content(model, molecule_graph()), [], "")
    assert ("means over all directions" in page) == (spectrum in ("free", "box"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ["near heads are numerical, exact within", "far heads are closed forms"]),
        ({"num_far_heads": 0}, ["near heads are numerical, exact within"]),
        ({"form": "additive"}, ["far heads are closed forms"]),
        ({"form": "additive", "spectrum": "box"}, ["far heads are numerical, exact"]),
    ],
)
def test_notes_on_spectra_are_of_the_heads_there_are(options, said):
    notes = report_content(build_model(**options), molecule_graph())["notes"]
    spectra = [note for note in notes if note.startswith("Spectra of")]
    assert len(spectra) == len(said)
    for note, phrase in zip(spectra, said, strict=True):
        assert phrase in note


def test_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr("molflt.report.rows.TOP", 3)
    monkeypatch.setattr("molflt.report.rows.EFFECT_LIMIT", 5)
    monkeypatch.setattr("molflt.report.content.BOND_LIMIT", 5)
    content = report_content(build_model(), slab_graph(), budget=16 * 9 * 3)
    notes = " ".join(content["notes"])
    assert "Of each row of 6 weights the 3 largest are kept" in notes
    assert "attention of 3 of 6 atoms is on this page" in notes
    assert "Effects of messages on the prediction are left out" in notes
    assert "Bonds are not drawn" in notes
    assert {4, 5} < set(content["attention"]["atoms"])  # CO first
    assert content["bonds"] == []


def test_what_the_training_set_has_not_is_said_and_escaped():
    remarks = ["Warning: no tags.", NASTY]
    page = render(
        report_content(build_model(), molecule_graph(), remarks=remarks), [], ""
    )
    assert '<p class="remark">Warning: no tags.</p>' in page
    assert page.count('class="remark"') == 2
    assert "<img" not in page


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1234.56789, "−1234.5679"), (0.0, "0.0000"), (3.14e-6, "3.14e−06")],
)
def test_small_values_keep_their_digits(content, value, text):
    other = content | {"target": content["target"] | {"value": value}}
    assert f"<b>{text} eV</b>" in render(other, [], "")


def test_targets_that_are_no_sum(content):
    with pytest.raises(UsageError, match="one of energy"):
        report_content(build_model(), molecule_graph(), "gap")
    model = build_model(targets=[TargetSpec("gap", kind="property", extensive=False)])
    page = render(report_content(model, molecule_graph()), [], "")
    assert "property of this geometry" in page
