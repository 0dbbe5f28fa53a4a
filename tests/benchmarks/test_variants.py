import pytest
from variants import FLT

from molflt.encoder import FLTEncoder


@pytest.mark.parametrize("name", FLT)
def test_variants_can_be_built(name):
    encoder = FLTEncoder(**FLT[name])
    assert sum(p.numel() for p in encoder.parameters()) > 100_000
