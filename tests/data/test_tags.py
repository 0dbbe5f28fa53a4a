import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bcc110, fcc100, fcc111, hcp0001, molecule

from molflt.data.tags import map_tags
from molflt.errors import InputError, UsageError

BUILDERS = [
    lambda layers: fcc111("Cu", (2, 2, layers), vacuum=8.0),
    lambda layers: fcc100("Pt", (2, 2, layers), vacuum=8.0),
    lambda layers: bcc110("Fe", (2, 2, layers), vacuum=8.0),
    lambda layers: hcp0001("Ru", (2, 2, layers), vacuum=8.0),
]


def slab(build, layers, adsorbate):
    """An ase.build slab, and the tags OC20 gives it."""
    atoms = build(layers)
    expected = np.where(atoms.get_tags() == 1, 1, 0)
    if adsorbate:
        add_adsorbate(atoms, molecule("CO"), 1.8, "ontop")
        expected = np.append(expected, [2, 2])
    return atoms, expected


@pytest.mark.parametrize("pbc", [(True, True, False), (True, True, True)])
@pytest.mark.parametrize("adsorbate", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("build", BUILDERS)
def test_ase_and_oc20_tags_of_one_slab_become_the_same(build, layers, adsorbate, pbc):
    atoms, expected = slab(build, layers, adsorbate)
    if pbc[2]:
        atoms.center(vacuum=8.0, axis=2)
    atoms.pbc = pbc
    twin = atoms.copy()
    twin.set_tags(expected)
    for structure in (atoms, twin):
        mapped, _ = map_tags(structure, "auto")
        assert mapped.tolist() == expected.tolist()
    assert map_tags(atoms, "ase")[0].tolist() == expected.tolist()
    assert map_tags(twin, "oc20")[0].tolist() == expected.tolist()


@pytest.mark.parametrize("shift", [-12.0, -3.0, 4.0, 9.0])
def test_a_slab_wrapped_through_the_cell_keeps_its_order(shift):
    atoms, expected = slab(BUILDERS[0], 4, adsorbate=True)
    atoms.center(vacuum=8.0, axis=2)
    atoms.pbc = True
    atoms.positions[:, 2] += shift
    atoms.wrap()
    assert map_tags(atoms, "auto")[0].tolist() == expected.tolist()


def test_a_turned_slab_is_read_along_its_own_normal():
    atoms, expected = slab(BUILDERS[0], 2, adsorbate=True)
    atoms.rotate(120, (1, 1, 1), rotate_cell=True)
    assert map_tags(atoms, "auto")[0].tolist() == expected.tolist()


def test_the_note_says_what_was_used():
    atoms, _ = slab(BUILDERS[0], 3, adsorbate=True)
    assert map_tags(atoms, "auto")[1].startswith("ase.build layers")
    assert "auto" in map_tags(atoms, "auto")[1]
    assert map_tags(atoms, "none")[1] == "tags are not used"
    assert (map_tags(atoms, "none")[0] == -1).all()


def test_structures_without_tags_have_none():
    mapped, note = map_tags(molecule("CH3CH2OH"), "auto")
    assert (mapped == -1).all()
    assert note.startswith("no tags")


def test_an_isolated_adsorbate_keeps_its_tag():
    atoms = molecule("CO")
    atoms.set_tags(2)
    assert map_tags(atoms, "auto")[0].tolist() == [2, 2]


def towers(tags, heights):
    positions = [[0.0, 3.0 * i, height] for i, height in enumerate(heights)]
    return Atoms("Cu" * len(tags), positions, tags=tags)


@pytest.mark.parametrize(
    ("tags", "heights"),
    [
        ([1, 0, 1], [0, 2, 4]),  # both sides of a slab are surface
        ([0, 1, 2], [0, 4, 2]),
        ([0, 2], [5, 0]),
        ([0, 1], [0, 0.1]),
        ([0, 1, 2, 3], [0, 2, 4, 6]),  # molecules numbered from below
        ([1, 2, 4], [6, 4, 2]),
        ([0, 5, 9], [6, 4, 2]),
    ],
)
def test_undecidable_tags_ask_for_the_option(tags, heights):
    with pytest.raises(InputError, match=r"^slab\.xyz, frame 2: tags .*(--tags|layer)"):
        map_tags(towers(tags, heights), "auto", "slab.xyz, frame 2")


@pytest.mark.parametrize(
    ("rule", "tags", "message"),
    [
        ("oc20", [0, 1, 3], "tags 3 are outside OC20"),
        ("oc20", [-1, 1, 2], "tags -1 are outside OC20"),
        ("ase", [0, -2, 1], "tags -2 are outside ase.build"),
        ("ase", [0, 1, 3], "layer 2 has no atoms"),
        ("auto", [0, -7, 1], "tags -7 are outside both"),
    ],
)
def test_tags_outside_the_convention_are_named(rule, tags, message):
    with pytest.raises(InputError, match=message):
        map_tags(towers(tags, [0, 2, 4]), rule)


def test_an_unknown_rule_is_bad_usage():
    with pytest.raises(UsageError, match="'ocp'"):
        map_tags(molecule("CO"), "ocp")


def test_tags_that_are_text_are_refused():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])
    atoms.arrays["tags"] = np.array(["a", "b"])
    with pytest.raises(InputError, match=r"a\.xyz, frame 0: tags must be whole"):
        map_tags(atoms, "auto", "a.xyz, frame 0")
