import numpy as np
import pytest
from ase.build import molecule
from ase.data import covalent_radii

from molflt.analysis import attention_rows
from molflt.analysis.bonds import bonds
from molflt.analysis.scene import attention_scene
from molflt.analysis.scene_page import save_scene, show_scene
from molflt.analysis.spheres import sphere_mesh
from molflt.data.molecule import atoms_to_graph

from .conftest import build_model, slab_graph


@pytest.fixture
def scene():
    graph = slab_graph()
    rows = attention_rows(build_model(), graph, [0, 5])
    figure = attention_scene(
        graph.z.numpy(), graph.pos.numpy(), rows, 5, graph.cell[0].numpy(), True, "slab"
    )
    return figure, rows


def test_every_layer_and_head_has_a_frame_and_a_step(scene):
    figure, rows = scene
    labels = [f"layer {r.layer + 1}, {name}" for r in rows for name in r.heads]
    assert [frame.name for frame in figure.frames] == labels
    assert [step.label for step in figure.layout.sliders[0].steps] == labels
    for step, label in zip(figure.layout.sliders[0].steps, labels, strict=True):
        assert list(step.args[0]) == [label]
    corners = figure.layout.meta["corners"]
    shares = np.concatenate([row.shares[:, 1] for row in rows])
    weights = np.concatenate([row.weights[:, 1] for row in rows])
    for frame, share, weight in zip(figure.frames, shares, weights, strict=True):
        for drawn, expected in (("intensity", share), ("customdata", weight)):
            values = np.array(frame.data[0][drawn]).reshape(-1, corners)
            np.testing.assert_allclose(values.T, [expected] * corners, rtol=1e-5)
        assert frame.data[0].cmax == pytest.approx(share.max())


def test_it_is_labelled(scene):
    figure, _ = scene
    for name in "xyz":
        assert figure.layout.scene[f"{name}axis"].title.text == f"{name} [Å]"
    assert figure.data[2].colorbar.title.text == "share of attention"
    names = [trace.name for trace in figure.data]
    assert names == ["bonds", "cell", "atoms", "most read by C5", "elements"]
    assert [trace.showlegend for trace in figure.data].count(True) == 1
    assert set(figure.data[2].text) == {"Cu0", "Cu1", "Cu2", "Cu3", "O4", "C5"}
    assert np.isfinite(np.array(figure.data[1].x)).sum() == 24  # 12 edges


def test_buttons_show_attention_or_elements(scene):
    figure, _ = scene
    (menu,) = figure.layout.updatemenus
    shown = {button.label: button.args for button in menu.buttons}
    assert tuple(shown["elements"]) == ({"visible": [False, True]}, (2, 4))
    assert [figure.data[k].name for k in (2, 4)] == ["atoms", "elements"]
    assert len(set(figure.data[4].vertexcolor)) == 3


def arrows(trace):
    """Starts and tips of the arrows (k, 3), and whether a start is ringed."""
    lines = np.stack([trace[name] for name in "xyz"], axis=1).reshape(-1, 6, 3)
    return lines[:, 0], lines[:, 1], np.reshape(trace.marker.size, (-1, 6))[:, 0] > 0


def test_arrows_end_at_the_atom_that_reads(scene):
    figure, rows = scene
    place, radius = slab_graph().pos[5].numpy(), figure.layout.meta["radii"][5]
    start, tip, _ = arrows(figure.data[3])
    gap = np.linalg.norm(tip - place, axis=1)
    np.testing.assert_allclose(gap, radius, atol=1e-3)  # at its surface
    strongest = int(np.argmax(rows[0].shares[0, 1]))
    np.testing.assert_allclose(start[0], slab_graph().pos[strongest])


def test_arrows_start_at_the_nearest_image(scene):
    """In a cell of one by two atoms most neighbours are images."""
    figure, _ = scene
    graph = slab_graph()
    pos, cell = graph.pos.numpy(), graph.cell[0].numpy()
    shifts = np.array([[a, b, 0] for a in range(-3, 4) for b in range(-3, 4)]) @ cell
    every = (pos[:, None] + shifts).reshape(-1, 3)
    for frame in figure.frames:
        start, _, ringed = arrows(frame.data[1])
        for place, ring in zip(start, ringed, strict=True):
            atom = int(np.linalg.norm(every - place, axis=1).argmin()) // len(shifts)
            mine = np.linalg.norm(pos[atom] + shifts - pos[5], axis=1).min()
            assert np.linalg.norm(place - pos[5]) == pytest.approx(mine, abs=1e-5)
            assert ring == (not np.allclose(place, pos[atom]))
    assert any(arrows(frame.data[1])[2].any() for frame in figure.frames)


def test_everything_lies_within_the_axes(scene):
    figure, _ = scene
    drawn = [figure.data[k] for k in range(4)] + [f.data[1] for f in figure.frames]
    for name in "xyz":
        low, high = figure.layout.scene[f"{name}axis"].range
        for trace in drawn:
            values = np.array(trace[name], dtype=float)
            values = values[np.isfinite(values)]
            assert ((values >= low) & (values <= high)).all()


def test_spheres_are_round():
    centres = np.array([[0.0, 0, 0], [5, 1, 2]])
    vertices, triangles, corners = sphere_mesh(centres, [1.0, 2.0])
    assert corners == 162
    owner = np.arange(len(vertices)) // corners
    distance = np.linalg.norm(vertices - centres[owner], axis=1)
    np.testing.assert_allclose(distance, np.array([1.0, 2.0])[owner])
    assert (owner[triangles] == owner[triangles[:, :1]]).all()
    # The volume within the triangles, which look outwards, is nearly the spheres'.
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    volume = np.einsum("tx,tx->t", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * (1 + 8), rel=0.04)
    assert sphere_mesh(np.zeros((151, 3)), np.ones(151))[2] == 42
    assert sphere_mesh(np.zeros((1001, 3)), np.ones(1001))[2] == 12


def test_a_saved_page_needs_no_network(scene, tmp_path):
    save_scene(scene[0], tmp_path / "scene.html")
    page = (tmp_path / "scene.html").read_text()
    assert 'src="http' not in page
    assert "layer 2, far 2" in page
    shown = show_scene(scene[0], height=300)
    assert len(repr(shown)) < 100  # notebooks keep that beside the page
    shown = shown._repr_html_()
    assert "height: 300px" in shown
    assert shown.count("<iframe") == shown.count("<") / 2  # all else is escaped


def test_open_structures_and_wrong_rows():
    graph = atoms_to_graph(molecule("CH4"))
    rows = attention_rows(build_model(form="additive"), graph, [0])
    figure = attention_scene(graph.z.numpy(), graph.pos.numpy(), rows, 0)
    assert not np.isfinite(np.array(figure.data[1].x, dtype=float)).any()  # no cell
    with pytest.raises(ValueError, match="hold atom 1"):
        attention_scene(graph.z.numpy(), graph.pos.numpy(), rows, 1)
    with pytest.raises(ValueError, match="of this structure"):
        attention_scene([1], [[0, 0, 0]], rows, 0)


def test_bonds_of_molecules():
    water = molecule("H2O")
    pairs = set(zip(*bonds(water.numbers, water.positions), strict=True))
    assert pairs == {(0, 1), (0, 2)}


def test_bonds_are_those_of_all_pairs():
    """Slow twin: every distance, in the order of the atoms."""
    rng = np.random.default_rng(0)
    z, places = rng.choice([1, 6, 29, 78], 150), rng.uniform(0, 12, (150, 3))
    reach = 1.2 * (covalent_radii[z][:, None] + covalent_radii[z])
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    expected = np.argwhere(np.triu(apart < reach, 1))
    assert len(expected) > 100
    np.testing.assert_array_equal(np.stack(bonds(z, places), axis=1), expected)
    assert not any(map(len, bonds([6], [[0.0, 0.0, 0.0]])))
