"""What is counted passes unchanged, drawn or not."""

import itertools

from molflt.data.progress import count


def test_items_pass_and_are_counted(capsys):
    assert list(count(range(5), "counting", show=False)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""
    assert list(count(range(5), "counting", show=True)) == [0, 1, 2, 3, 4]
    printed = capsys.readouterr().err
    assert "counting" in printed
    assert "5/?" in printed
    # A stream without an end is not read ahead.
    stream = count(itertools.count(), "counting", show=True)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    stream.close()
