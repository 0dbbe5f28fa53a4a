import numpy as np
import pytest
from ase.build import molecule

from molflt.analysis import attention_rows
from molflt.analysis.bonds import bonds
from molflt.analysis.scene import attention_scene, save_scene
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
    shares = np.concatenate([row.shares[:, 1] for row in rows])
    for frame, share in zip(figure.frames, shares, strict=True):
        np.testing.assert_allclose(frame.data[0].marker.color, share)


def test_it_is_labelled(scene):
    figure, _ = scene
    for name in "xyz":
        assert figure.layout.scene[f"{name}axis"].title.text == f"{name} [Å]"
    bar = figure.data[2].marker.colorbar
    assert bar.title.text == "share of attention"
    names = [trace.name for trace in figure.data]
    assert names == ["bonds", "cell", "atoms", "most read by C5"]
    assert np.isfinite(np.array(figure.data[1].x)).sum() == 24  # 12 edges


def test_arrows_end_at_the_atom_that_reads(scene):
    figure, rows = scene
    place = slab_graph().pos[5].numpy()
    lines = np.stack([figure.data[3][name] for name in "xyz"], axis=1).reshape(-1, 6, 3)
    gap = np.linalg.norm(lines[:, 1] - place, axis=1)
    np.testing.assert_allclose(gap, 0.35)
    strongest = int(np.argmax(rows[0].shares[0, 1]))
    np.testing.assert_allclose(lines[0, 0], slab_graph().pos[strongest])


def test_a_saved_page_needs_no_network(scene, tmp_path):
    save_scene(scene[0], tmp_path / "scene.html")
    page = (tmp_path / "scene.html").read_text()
    assert 'src="http' not in page
    assert "layer 2, far 2" in page


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
