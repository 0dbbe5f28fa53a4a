"""Stress is learned of crystals; clusters and slabs among them have none."""

import pytest
import torch
from ase.build import fcc111, molecule
from torch_geometric.data import Batch

from molflt.data.crystals import stress_is_known
from molflt.data.datamodule import GraphDataModule
from molflt.data.dataset import GraphList
from molflt.data.molecule import atoms_to_graph, with_missing
from molflt.errors import InputError
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec
from molflt.training.objective import Objective
from tests.builders import SHORT, oblique_copper

STRESS = "energy/stress_mae_eV_per_A3"
FORMS = {
    "near and far": {"num_near_heads": 2, "num_far_heads": 2, "far_head_width": 4},
    "near": {"num_near_heads": 2, "num_far_heads": 0},
    "far": {"num_near_heads": 0, "num_far_heads": 2, "far_head_width": 4},
}


def build(options):
    torch.manual_seed(0)
    options = {"width": 8, "num_layers": 1, "near_components": 6, **SHORT, **options}
    model = FLTModel(FLTEncoder(**options), [TargetSpec("energy")]).double()
    statistics = {"element_reference": {29: -3.0}, "mean": 0.0, "std": 0.5}
    model.set_statistics("energy", statistics)
    return model


def graph(atoms, number):
    torch.manual_seed(number)
    found = atoms_to_graph(atoms, sid=f"s{number}", targets={"energy": float(number)})
    found.forces = torch.randn(len(atoms), 3, dtype=torch.float64)
    return found


def crystal(number=0):
    found = graph(oblique_copper(), number)
    found.stress = 0.02 * torch.randn(1, 3, 3, dtype=torch.float64)
    return found


def others():
    """A molecule without a cell, one in a box, and a slab."""
    boxed = molecule("H2O")
    boxed.center(vacuum=3.0)
    slab = fcc111("Cu", (1, 1, 2), vacuum=4)
    slab.rattle(0.1, seed=1)
    frames = [molecule("CO"), boxed, slab]
    return [graph(atoms, 5 + i) for i, atoms in enumerate(frames)]


def bare():
    return [with_missing(one, ["stress"]) for one in others()]


def outcome(model, graphs, **weights):
    objective = Objective(model.encoder, **weights)
    return objective(model, Batch.from_data_list(graphs), progress=0.0)


def slopes(model, loss):
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(
        loss, parameters, allow_unused=True, materialize_grads=True
    )
    return torch.cat([slope.flatten() for slope in found])


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_the_term_is_that_of_the_crystals_alone(options):
    model = build(options)
    crystals = [crystal(0), crystal(1)]
    mixed = [crystals[0], *bare(), crystals[1]]
    known = [True, False, False, False, True]
    assert stress_is_known(Batch.from_data_list(mixed)).tolist() == known
    terms, errors = [], []
    for graphs in (crystals, mixed):
        whole = outcome(model, graphs, force_weight=2.0, stress_weight=3.0)
        rest = outcome(model, graphs, force_weight=2.0)
        # Energies and forces of all structures are learned as they are without stress.
        for name, error in rest.errors.items():
            torch.testing.assert_close(whole.errors[name], error)
        difference = slopes(model, whole.loss) - slopes(model, rest.loss)
        terms.append((whole.loss - rest.loss, difference))
        errors.append(whole.errors[STRESS])
    assert terms[0][0] > 0.01
    torch.testing.assert_close(terms[1], terms[0], rtol=1e-6, atol=1e-9)
    assert errors[1].counts.tolist() == [9.0, 0.0, 0.0, 0.0, 9.0]
    assert errors[1].mean().item() == pytest.approx(errors[0].mean().item(), 1e-6)


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_a_batch_without_any_crystal(options):
    model = build(options)
    rest = outcome(model, others(), force_weight=2.0)
    whole = outcome(model, bare(), force_weight=2.0, stress_weight=3.0)
    torch.testing.assert_close(whole.loss, rest.loss)
    assert not whole.errors[STRESS].counts.any()
    torch.testing.assert_close(slopes(model, whole.loss), slopes(model, rest.loss))


def test_a_slab_with_a_stress_counts():
    model, slab = build(FORMS["near"]), others()[2]
    slab.stress = 0.02 * torch.randn(1, 3, 3, dtype=torch.float64)
    found = outcome(model, [*bare()[:2], slab], stress_weight=3.0)
    assert found.errors[STRESS].counts.tolist() == [0.0, 0.0, 9.0]


def test_labels_of_zeros_of_earlier_files_do_not_count():
    model, zeros = build(FORMS["near"]), others()
    for one in zeros:
        one.stress = torch.zeros(1, 3, 3, dtype=torch.float64)
    losses = [
        outcome(model, [crystal(), *graphs], stress_weight=3.0).loss
        for graphs in (zeros, bare())
    ]
    assert torch.equal(*losses)


class Mixed(GraphDataModule):
    """Crystals among open structures, or none."""

    targets = (TargetSpec("energy"),)

    def __init__(self, crystals):
        super().__init__(batch_size=3)
        self.crystals = [crystal(seed) for seed in range(crystals)]

    def load_splits(self):
        train = GraphList(bare() + self.crystals)
        val = {"val": GraphList([*bare(), crystal(9)]), "open": GraphList(bare())}
        return train, val, {}


def test_a_run_has_errors_of_what_there_is(make_task, make_trainer):
    trainer = make_trainer(max_epochs=2)
    trainer.fit(make_task(force_weight=1.0, stress_weight=1.0), datamodule=Mixed(2))
    found = trainer.callback_metrics
    assert found[f"val/{STRESS}"].isfinite()
    assert found["val/energy/force_mae_eV_per_A"].isfinite()
    assert found["train/loss"].isfinite()
    assert f"open/{STRESS}" not in found
    assert found["open/energy/mae_eV"].isfinite()


def test_a_training_set_without_any_is_refused(make_task, make_trainer):
    with pytest.raises(InputError, match="No training structure has a stress"):
        make_trainer().fit(make_task(stress_weight=1.0), datamodule=Mixed(0))
