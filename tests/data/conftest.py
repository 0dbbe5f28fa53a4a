"""Files of data sets that several tests read."""

import pytest

from tests.data.qm9_files import upstream


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """QM9 in upstream's files."""
    return upstream(tmp_path_factory.mktemp("qm9") / "raw")
