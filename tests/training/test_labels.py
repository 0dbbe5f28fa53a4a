import logging

import pytest
import torch
from ase.build import molecule

from molflt.data.dataset import GraphList
from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError
from molflt.targets import TargetSpec
from molflt.training.labels import LabelledDataset, tell_units
from molflt.units import BOHR, HARTREE
from tests.training.clusters import cluster

# Total energies in hartree, B3LYP/6-31G(2df,p): of QM9.
TOTAL = {"CH4": -40.478930, "NH3": -56.525887, "H2O": -76.404702, "C2H2": -77.308427}
EV = TargetSpec("total", kind="property")


def molecules(energy=HARTREE, length=1.0):
    for name, total in TOTAL.items():
        atoms = molecule(name)
        atoms.positions *= length
        yield atoms_to_graph(atoms, targets={"total": total * energy})


@pytest.mark.parametrize(
    ("units", "target", "words"),
    [
        ({}, EV, []),
        ({"energy": 1.0}, EV, ["total looks like hartree"]),
        ({"length": 1 / BOHR}, EV, ["positions may be in bohr"]),
        # A unit that is named is right, and a mean says nothing of the sum.
        ({"energy": 1.0}, TargetSpec("total", unit="Ha", kind="property"), []),
        ({"energy": 1.0}, TargetSpec("total", kind="property", extensive=False), []),
    ],
)
def test_other_units_are_suspected_before_the_training(units, target, words, caplog):
    with caplog.at_level(logging.WARNING, "molflt"):
        tell_units(GraphList(list(molecules(**units))), [target])
    found = [record.message for record in caplog.records]
    assert len(found) == len(words)
    for sentence, part in zip(found, words, strict=True):
        assert part in sentence


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_forces_that_are_not_finite_are_found_before_the_training(value):
    """Not as a loss that is no number, for which a learning rate would be blamed."""
    graphs = [cluster(0), cluster(1)]
    graphs[1].forces[-1, 2] = value
    assert LabelledDataset(GraphList(graphs), {})[1] is graphs[1]
    needing = LabelledDataset(GraphList(graphs), {"force_weight": "forces"})
    assert needing[0] is graphs[0]
    with pytest.raises(InputError, match="Record c1 has forces that are not finite"):
        needing[1]
