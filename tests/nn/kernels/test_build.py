"""Compiled loops: built once, found again, and done without."""

import logging
import stat

import pytest
import torch

from molflt.nn.kernels import build


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """A cache of its own, and nothing known from before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MOLFLT_KERNELS", raising=False)
    caches = (build._load, build._cache, build._say_once)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path / "molflt"
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def needs_compiler():
    try:
        build.compiler()
    except FileNotFoundError:
        pytest.skip("no C++ compiler")


def test_a_build_is_kept_and_belongs_to_its_sizes(fresh, needs_compiler, monkeypatch):
    assert build.load("filter", torch.float32, CHANNELS=3) is not None
    assert build.load("filter", torch.float64, CHANNELS=3) is not None
    (first, second) = sorted(fresh.iterdir())
    assert not stat.S_IMODE(fresh.stat().st_mode) & stat.S_IRWXO
    # Another process finds them and does not compile again.
    build._load.cache_clear()
    monkeypatch.setattr(build, "_compile", lambda command: pytest.fail("compiled"))
    assert build.load("filter", torch.float32, CHANNELS=3) is not None
    assert sorted(fresh.iterdir()) == [first, second]


@pytest.mark.parametrize("broken", ["none", "fails"])
def test_without_a_working_compiler_one_message_says_so(
    broken, fresh, tmp_path, monkeypatch, caplog
):
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if broken == "fails" else "")
    monkeypatch.delenv("CXX", raising=False)
    with caplog.at_level(logging.INFO):
        assert build.load("rows") is None
        assert build.load("filter", torch.float32, CHANNELS=3) is None
    assert len(caplog.records) == 1 + (broken == "fails")  # one for each reason
    assert caplog.records[0].levelno == logging.INFO
    assert not [path for path in fresh.glob("*") if path.suffix == ".so"]


def test_the_switch_and_other_types_keep_to_torch(monkeypatch):
    assert build.load("filter", torch.bfloat16, CHANNELS=3) is None
    monkeypatch.setenv("MOLFLT_KERNELS", "0")
    assert build.load("filter", torch.float32, CHANNELS=3) is None


def test_rows_are_covered_once_on_several_threads():
    torch.set_num_threads(3)
    seen = torch.zeros(1000, dtype=torch.int64)

    def run(begin, end):
        seen[begin:end] += 1

    build.over_rows(run, 10, 990)
    assert bool((seen[10:990] == 1).all())
    assert not seen[:10].any()
    assert not seen[990:].any()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, dtype=torch.float64),
        torch.zeros(6)[::2],
        torch.zeros(3, device="meta"),
    ],
)
def test_what_loops_cannot_read_never_comes_to_them(tensor, needs_compiler):
    """Also where assertions are off: they would read the memory of others."""
    run = build.load("filter", torch.float32, CHANNELS=3).function("filter_sums")
    with pytest.raises(TypeError, match="The loops"):
        run(tensor)
