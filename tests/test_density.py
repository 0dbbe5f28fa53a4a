"""What is fitted to structures: means and principal components of their numbers."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from molflt import FLTEncoder
from molflt.data.batching import collate
from molflt.data.molecule import atoms_to_graph
from molflt.density import SPREAD, fit_density
from molflt.errors import UsageError

SMALL = {"width": 16, "num_layers": 1, "num_far_heads": 0, "head_width": 4}
ORDER = {"density_order": 1}  # fewer numbers
HALF = 1e-3  # precision of U


def graphs(names=("CH3CH2OH", "CH3OCH3", "H2O", "C6H6", "CH3COCl"), copies=6):
    """Molecules with noise on their atoms."""
    found = []
    for seed in range(copies):
        for name in names:
            atoms = molecule(name)
            atoms.rattle(0.1, seed=seed)
            found.append(atoms_to_graph(atoms))
    return found


def encoder(elements="HCOCl", components=8):
    torch.manual_seed(0)
    return FLTEncoder(
        **(SMALL | ORDER), density_elements=elements, density_components=components
    ).double()


def components_of(model, structures):
    """b of each atom, and its row among the elements."""
    batch = collate(structures)
    features = model.embedding.density
    row = features.rows(batch.z)
    sums = features.sums(*features.density(row, model.geometry(batch).pairs))
    b = torch.einsum("nd,ndk->nk", sums, features.projection[row])
    return b - features.shift[row], row


def test_components_are_uncorrelated_and_keep_their_spread():
    model, structures = encoder(), graphs()
    fit_density(model, structures)
    b, row = components_of(model, structures)
    for element in range(4):
        part = b[row == element]
        covariance = part.T @ part / len(part)
        scale = float(covariance.trace())
        assert scale == pytest.approx(SPREAD**2 * 8, rel=HALF)
        assert part.mean(0).abs().max() < 1e-8 * scale
        assert (covariance - covariance.diag().diag()).abs().max() < HALF * scale
        spread = covariance.diag()
        assert spread.max() > 10 * spread.min()  # not whitened


def test_a_fit_does_not_depend_on_the_weights_and_repeats():
    structures, first, second = graphs(), encoder(), encoder()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(torch.randn_like(parameter))
    for model in (first, second):
        fit_density(model, structures)
    torch.testing.assert_close(
        first.embedding.density.projection, second.embedding.density.projection
    )


def test_atomic_numbers_may_be_small_integers():
    whole, small = encoder(), encoder()
    fit_density(whole, graphs(copies=1))
    compact = graphs(copies=1)
    for graph in compact:
        graph.z = graph.z.to(torch.uint8)
    fit_density(small, compact)
    found = small.embedding.density.state_dict()
    for name, value in whole.embedding.density.state_dict().items():
        assert torch.equal(found[name], value)


def test_elements_without_atoms_keep_what_they_have():
    model = encoder("HCOClF")
    before = model.embedding.density.projection.clone()
    fit_density(model, graphs())
    now = model.embedding.density.projection
    fluorine = model.embedding.density.numbers.index(9)
    changed = (now != before).flatten(1).any(1)
    expected = [row != fluorine for row in range(5)]
    assert changed.tolist() == expected


def test_elements_that_are_not_told_apart_are_an_error():
    with pytest.raises(UsageError, match="Cl, which is not among .*HCO"):
        fit_density(encoder("HCO"), graphs())


def test_encoders_without_such_features_are_left_alone():
    model = FLTEncoder(**SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_density(model, graphs())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_fitted_model_still_gives_energies_that_do_not_turn():
    model = encoder()
    fit_density(model, graphs())
    atoms = molecule("CH3CH2OH")
    x, _ = model(collate([atoms_to_graph(atoms)]))
    atoms.rotate(37, (1, 2, 3))
    atoms.positions += np.array([3.0, -2.0, 5.0])
    turned, _ = model(collate([atoms_to_graph(atoms)]))
    torch.testing.assert_close(turned, x, rtol=1e-8, atol=1e-9)


def test_components_are_kept_to_half_precision_and_lose_nothing_in_a_file():
    """They are most of a checkpoint."""
    model = encoder("HCOClF").float()  # no fluorine in the structures
    fit_density(model, graphs())
    state = model.state_dict()
    name = "embedding.density.projection"
    assert state[name].dtype == torch.float16
    again = encoder("HCOClF").float()
    again.load_state_dict(state)
    before, after = (m.embedding.density.projection for m in (model, again))
    assert after.dtype == torch.float32
    assert torch.equal(after, before)


@pytest.mark.parametrize("size", [1e-9, 1e6], ids=["smaller", "larger"])
def test_components_out_of_the_range_of_half_precision_stay_as_they_are(size):
    """Such as those of structures that hardly differ."""
    features = encoder().embedding.density
    given = torch.full(features.projection.shape[1:], size * 0.7).double()
    features.set_components(0, given, torch.ones(len(given)).double())
    assert torch.equal(features.projection[0], given)
    assert features.state_dict()["projection"].dtype == torch.float64


def test_components_of_earlier_checkpoints_stay_as_they_are():
    features = encoder().float().embedding.density
    given = features.projection + 1e-5 * torch.randn_like(features.projection)
    features.load_state_dict(features.state_dict() | {"projection": given})
    assert torch.equal(features.projection, given)
    assert torch.equal(features.state_dict()["projection"], given)
