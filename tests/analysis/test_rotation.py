import numpy as np
import pytest

from molflt.analysis import rotation_errors
from molflt.errors import UsageError
from molflt.targets import TargetSpec

from .conftest import build_model, molecule_graph


def test_radial_spectra_leave_rounding(graph):
    got = rotation_errors(build_model(), graph, num_rotations=3)
    assert got.reflected.tolist() == [False, True, False]
    assert np.abs(got.errors).max() < 1e-9
    assert got.forces.max() < 1e-8
    assert (got.target, got.unit) == ("energy", "eV")


def test_free_spectra_do_not():
    targets = [TargetSpec("energy", kind="relaxed")]
    model = build_model(form="additive", spectrum="free", targets=targets)
    got = rotation_errors(model, molecule_graph(), num_rotations=3)
    assert np.abs(got.errors).max() > 1e-5
    assert got.forces is None
    np.testing.assert_allclose(got.value, model(molecule_graph())["energy"].item())
    with pytest.raises(UsageError, match="at least 1, not 0"):
        rotation_errors(model, molecule_graph(), num_rotations=0)
