"""Names of `molflt.data`: imported when they are first used, and told before."""

import molflt.data


def test_all_names_are_told_and_there():
    assert dir(molflt.data) == sorted(molflt.data.__all__)
    for name in molflt.data.__all__:
        assert getattr(molflt.data, name).__name__ == name
