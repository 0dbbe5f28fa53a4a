import pytest
from step_profile import KINDS, measure

from molflt.data import EMTIS2RE


@pytest.mark.filterwarnings("ignore:.*density features")
def test_phases_and_kinds_account_for_all_time():
    data = EMTIS2RE(batch_size=4, max_train=16)
    data.setup()
    found = measure(data, 4, lambda model: None)
    assert sum(found["share_of_operations"].values()) == pytest.approx(1)
    assert set(KINDS) < set(found["share_of_operations"])
    assert found["milliseconds"]["backward"] > found["milliseconds"]["collating"]
    seconds = sum(found["milliseconds"].values()) / 1000
    assert found["structures_per_second"] == pytest.approx(4 / seconds)
