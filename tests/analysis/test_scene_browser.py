"""A saved scene in a real browser; skipped where there is no Chromium."""

import numpy as np
import pytest

from molflt.analysis import attention_rows
from molflt.analysis.scene import attention_scene
from molflt.analysis.scene_page import save_scene
from tests.browser import CHROMIUM, WEBGL, chromium, watched

from .conftest import build_model, slab_graph

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
PLOT = "document.querySelector('.plotly-graph-div')"


@pytest.fixture(scope="module")
def rows():
    return attention_rows(build_model(), slab_graph(), [0, 3, 4, 5])


@pytest.fixture(scope="module")
def page(rows, tmp_path_factory):
    graph = slab_graph()
    path = tmp_path_factory.mktemp("scene") / "scene.html"
    figure = attention_scene(
        *(graph.z.numpy(), graph.pos.numpy(), rows, 5, graph.cell[0].numpy()),
        pbc=[True, True, False],
        title="</script>CO on Cu(111)",
    )
    save_scene(figure, path)
    with chromium(*WEBGL) as browser:
        page = browser.new_page(viewport={"width": 800, "height": 600})
        said, asked = watched(page)
        page.goto(path.as_uri())
        page.wait_for_selector("[data-ready=yes]", timeout=60_000)
        yield page
        assert not said
        assert {url for url in asked if not url.startswith("blob:")} == {path.as_uri()}


def shown(page, name):
    """The values of one trace's attribute, an atom each."""
    corners = page.evaluate(f"{PLOT}.layout.meta.corners")
    values = page.evaluate(f"Array.from({PLOT}.data[2].{name}._inputArray || 0)")
    values = values or page.evaluate(f"Array.from({PLOT}.data[2].{name})")
    return np.reshape(values, (-1, corners))[:, 0]


def press(page, atom):
    """Click on an atom, as plotly reports where the pointer rests."""
    page.evaluate(
        f"""{PLOT}.emit("plotly_hover", {{points: [{{
            curveNumber: 2, pointNumber: {atom} * {PLOT}.layout.meta.corners + 1
        }}]}})"""
    )
    page.evaluate(
        f"""for (const kind of ["pointerdown", "pointerup"])
            {PLOT}.dispatchEvent(new PointerEvent(kind, {{clientX: 9, clientY: 9}}))"""
    )


def test_it_fits_the_window_and_rests(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    assert page.evaluate("document.documentElement.scrollHeight") <= 600
    label = page.text_content(".slider-label")
    page.wait_for_timeout(300)
    assert page.text_content(".slider-label") == label == "layer 1, near 1"
    assert page.text_content(".gtitle") == "</script>CO on Cu(111)"


def test_a_click_shows_the_attention_of_that_atom(page, rows):
    for row, atom in ((1, 3), (3, 5), (2, 4)):
        press(page, atom)
        name = page.evaluate(f"{PLOT}.data[3].name")
        assert (
            name == f"most read by {page.evaluate(f'{PLOT}.layout.meta.names[{atom}]')}"
        )
        expected = rows[0].shares[0, row]
        np.testing.assert_allclose(shown(page, "intensity"), expected, atol=2e-3)
    # An atom without a row changes nothing.
    press(page, 1)
    assert page.evaluate(f"{PLOT}.data[3].name") == name


def test_the_slider_keeps_the_atom(page, rows):
    press(page, 3)
    box = page.locator(".slider-rail-touch-rect").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert page.text_content(".slider-label") == "layer 2, far 2"
    assert page.evaluate(f"{PLOT}.data[3].name") == "most read by Cu3"
    layer = rows[1]
    np.testing.assert_allclose(shown(page, "intensity"), layer.shares[-1, 1], atol=2e-3)
    np.testing.assert_allclose(
        shown(page, "customdata"), layer.weights[-1, 1], rtol=1e-2, atol=1e-9
    )


def test_arrows_of_the_page_are_those_of_the_figure(page, rows):
    """Two programs draw them, so they are compared, for each head."""
    graph = slab_graph()
    figure = attention_scene(
        *(graph.z.numpy(), graph.pos.numpy(), rows, 4, graph.cell[0].numpy()),
        pbc=[True, True, False],
    )
    press(page, 4)
    for frame in figure.frames:
        page.evaluate(
            f'{PLOT}.emit("plotly_sliderchange", {{step: {{label: "{frame.name}"}}}})'
        )
        for name in "xyz":
            drawn = page.evaluate(f"Array.from({PLOT}.data[3].{name})")
            expected = np.array(frame.data[1][name], dtype=float)
            np.testing.assert_allclose(
                np.array(drawn, dtype=float), expected, atol=5e-3
            )
