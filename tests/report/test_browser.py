"""The page in a real browser; skipped where there is no Chromium."""

import numpy as np
import pytest
from ase.build import fcc111, molecule

from molflt.data.molecule import atoms_to_graph
from molflt.report import render, report_content
from tests.analysis.conftest import build_model, slab_graph
from tests.browser import CHROMIUM, chromium, watched

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def browser():
    with chromium("--disable-gpu") as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "a b<c>.html"
    name = "</script><img src=x onerror=alert(1)>"
    content = report_content(build_model(), slab_graph(), structure=name)
    path.write_text(render(content, [("Checkpoint", name)], "now"), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[1280, 400])
def window(browser, report, request):
    """A window with the report; it asked for nothing else and had no errors."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    said, asked = watched(page)
    page.goto(report.as_uri())
    yield page
    page.close()
    assert not said
    assert asked == {report.as_uri()}


@pytest.fixture
def page(window):
    window.reload()
    window.wait_for_selector("html[data-ready='6']", timeout=20_000)
    return window


def picture(page):
    page.evaluate("Scene.draw()")
    return page.evaluate("document.getElementById('scene').toDataURL()")


def set_slider(page, name, value):
    page.focus(f"#{name}")
    page.keyboard.press("Home")
    for _ in range(value):
        page.keyboard.press("ArrowRight")


def test_nothing_is_wider_than_the_screen(page):
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate(
        "[...document.querySelectorAll('p, td, th, label, select, button')]"
        ".map((node) => parseFloat(getComputedStyle(node).fontSize))"
    )
    assert min(sizes) >= 13
    texts = page.evaluate(
        "[...document.querySelectorAll('details[open] svg text')]"
        ".map((node) => node.getBoundingClientRect().height)"
    )
    assert texts
    assert min(texts) >= 9


def test_a_click_on_an_atom_shows_its_attention(page):
    page.locator("#scene").scroll_into_view_if_needed()
    before = picture(page)
    start = page.input_value("#atom")
    for atom in range(6):
        x, y = page.evaluate(f"Scene.whereIs({atom})")
        front = page.evaluate(f"Scene.frontmost({x}, {y})")
        if str(front) != start:
            break
    page.locator("#scene").click(position={"x": x, "y": y})
    assert page.input_value("#atom") == str(front)
    name = page.evaluate(f"Report.names[{front}]")
    assert page.inner_text("#status").startswith(f"{name}, layer 2")
    assert picture(page) != before


def test_sliders_choose_layer_and_head(page):
    seen = set()
    for layer in (0, 1):
        for head in (0, 1, 8):
            set_slider(page, "layer", layer)
            set_slider(page, "head", head)
            assert page.inner_text("#layer-name") == f"{layer + 1} of 2"
            expected = {0: "all heads, mean", 1: "near 1", 8: "far 2"}[head]
            assert page.inner_text("#head-name") == expected
            seen.add(picture(page))
    assert len(seen) == 6


def test_keys_are_enough(page):
    """Tab reaches the picture and every control; arrows turn and choose."""
    reached = []
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    controls = ["scene", "atom", "layer", "head", "colour", "arrows", "cell"]
    assert [name for name in reached if name in controls][:7] == controls
    page.focus("#scene")
    pictures = [picture(page)]
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
        pictures.append(picture(page))
    assert len(set(pictures)) == 4
    page.keyboard.press("Home")
    assert picture(page) == pictures[0]
    page.focus("#atom")
    page.keyboard.press("Home")
    assert page.input_value("#atom") == "0"
    page.keyboard.press("ArrowDown")
    assert page.input_value("#atom") == "1"
    assert page.inner_text("#status").startswith("Cu1, ")


def test_colours_follow_the_choice(page):
    labels = {}
    for value in page.locator("#colour option").evaluate_all(
        "(all) => all.map((each) => each.value)"
    ):
        page.select_option("#colour", value)
        labels[value] = page.inner_text("#scale-label")
    assert labels["share"].endswith("(dimensionless)")
    assert "signed, not normalised" in labels["weight"]
    assert "[eV]" in labels["effect"]
    assert labels["learned"] == "learned contribution [eV]"
    assert labels["force"] == "force [eV/Å]"
    assert labels["element"] == "colours of the elements"


def test_numbers_are_those_of_the_model(page):
    graph = slab_graph()
    cell, pos = graph.cell[0].numpy(), graph.pos.numpy()
    shifts = np.array([[a, b, 0] for a in range(-4, 5) for b in range(-4, 5)]) @ cell
    for i, j in ((0, 3), (5, 1), (4, 2)):
        expected = np.linalg.norm(pos[i] - pos[j] + shifts, axis=1).min()
        got = page.evaluate(f"Report.distance({i}, {j})")
        assert got == pytest.approx(expected, abs=1e-4)
    for i, j in ((0, 3), (5, 1), (4, 2), (0, 1)):
        apart = page.evaluate(f"Report.nearest({i}, {j})")
        images = pos[i] - pos[j] + shifts
        assert np.linalg.norm(images - apart, axis=1).min() < 1e-4  # one of them
        drawn = pos[i] - pos[j]
        if np.linalg.norm(drawn) < np.linalg.norm(apart) + 1e-3:
            np.testing.assert_allclose(apart, drawn, atol=1e-4)
    sums = page.evaluate(
        "[0, 1, 2, 3, 4, 5].map((i) => Report.shares([0, 1, 9], i)"
        ".reduce((a, b) => a + b))"
    )
    np.testing.assert_allclose(sums, 1.0, atol=0.03)  # rounded to 8 bits


def test_only_atoms_that_differ_from_their_element_are_listed(page, browser, tmp_path):
    """C and O, alone of their element, were listed with differences of zero."""
    found = page.locator("#outliers tbody tr td:first-child").all_inner_texts()
    assert found
    assert set(found) <= {"Cu0", "Cu1", "Cu2", "Cu3"}
    path = tmp_path / "co.html"
    content = report_content(build_model(), atoms_to_graph(molecule("CO")))
    path.write_text(render(content, [], ""), encoding="utf-8")
    other = browser.new_page()
    other.goto(path.as_uri())
    other.wait_for_selector("html[data-ready='2']")
    assert not other.locator("#far-off").is_visible()
    assert other.locator("#elements").is_visible()
    other.close()


@pytest.mark.parametrize("lean", [0.0, 9.0])
def test_distances_in_cells_that_are_not_reduced(browser, tmp_path, lean):
    """A thin cell at an angle of 60 degrees, its open direction not across it."""
    atoms = fcc111("Cu", (1, 6, 2), vacuum=4.0)
    atoms.rattle(0.1, seed=0)
    atoms.cell[2, 0] += lean
    path = tmp_path / "thin.html"
    content = report_content(build_model(num_layers=1), atoms_to_graph(atoms))
    path.write_text(render(content, [], "now"), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    got = page.evaluate(
        "Report.names.map((_, i) => Report.names.map((_, j) => Report.distance(i, j)))"
    )
    page.close()
    steps = np.array([[a, b, 0] for a in range(-9, 10) for b in range(-4, 5)])
    apart = atoms.positions[:, None] - atoms.positions
    every = np.linalg.norm(apart[:, :, None] + steps @ atoms.cell.array, axis=3)
    every[every < 1e-9] = np.inf  # of an atom itself the nearest image
    np.testing.assert_allclose(got, every.min(axis=2), atol=1e-4)


@pytest.mark.slow
def test_5000_atoms_stay_responsive(browser, tmp_path):
    slab = fcc111("Cu", (25, 25, 8), vacuum=8.0)
    slab.rattle(0.05, seed=1)
    model = build_model(num_layers=1, num_far_heads=0).float()
    content = report_content(model, atoms_to_graph(slab))
    path = tmp_path / "large.html"
    path.write_text(render(content, [], ""), encoding="utf-8")
    assert path.stat().st_size < 10e6
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready='5000']", timeout=30_000)
    assert "of 5,000 atoms is on this page" in page.inner_text("main")
    # Drawing once, and choosing another layer: the best of some, as machines are busy.
    times = page.evaluate(
        """() => Array.from({length: 8}, (_, k) => {
            const start = performance.now();
            Scene.view.yaw += 0.1;
            Scene.draw();
            document.getElementById("head").value = String(k % 3);
            document.getElementById("head").dispatchEvent(new Event("input"));
            return performance.now() - start;
        })"""
    )
    page.close()
    assert min(times) < 200  # ms
    print(f"{min(times):.0f} ms a frame")
