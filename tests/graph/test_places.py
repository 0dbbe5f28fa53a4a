"""Places that mean nothing are refused, in a sentence that names what is wrong."""

import pytest
import torch

from molflt.errors import InputError
from molflt.graph.places import check_places

POS = torch.rand(4, 3)
CELL, PBC = 9 * torch.eye(3)[None], torch.ones(1, 3, dtype=torch.bool)
GOOD = {"pos": POS, "batch": None, "num_graphs": None, "cell": CELL, "pbc": PBC}
TWO = torch.tensor([0, 0, 1, 1])
BAD = {
    "pos must be floating-point": {"pos": POS.long()},
    "cell must be floating-point numbers .*torch.int64": {"cell": CELL.long()},
    r"pos must have shape \(n, 3\), received \(4, 2\)": {"pos": POS[:, :2]},
    r"batch must have shape \(4,\), .* received \(2,\)": {"batch": TWO[:2]},
    "batch must be of type torch.int64, received torch.float32": {"batch": TWO / 1},
    r"cell must have shape \(g, 3, 3\), .* received \(3, 3\)": {"cell": CELL[0]},
    r"pbc must have shape \(2, 3\), one for each graph": {
        "batch": TWO,
        "num_graphs": 2,
        "cell": torch.cat([CELL, CELL]),
    },
    "batch of atom 0 is -1; graphs are numbered from 0": {"batch": TWO - 1},
    "batch of atom 0 is 1; graphs are numbered from 0 in order": {"batch": TWO + 1},
    "batch of atom 2 is 2; graphs are numbered from 0 in order": {"batch": TWO * 2},
    "batch of atom 1 is 2; graphs are numbered from 0 in order": {
        "batch": torch.tensor([0, 2, 1, 1])
    },
    "batch of atom 2 is 1; graphs are numbered from 0 to 0": {
        "batch": TWO,
        "num_graphs": 1,
    },
}


@pytest.mark.parametrize("words", BAD)
def test_what_means_nothing_is_refused(words):
    with pytest.raises(InputError, match=words):
        check_places(**GOOD | BAD[words])


def test_what_means_something_is_not():
    check_places(**GOOD)
    check_places(**GOOD | {"pos": POS.double(), "batch": TWO.int() * 0})
    # Where the number of graphs is told, some may have no atoms.
    few = {"batch": TWO * 2, "num_graphs": 4, "cell": None, "pbc": None}
    check_places(**GOOD | few)
