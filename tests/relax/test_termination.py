"""Processes that are ended from outside leave what they have done."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk
from ase.io.trajectory import Trajectory

from molflt.cli import main
from molflt.commands.termination import Terminated, terminable, undisturbed
from tests.running import ROOT

WORDS = ["relax", "emt-forces", "in.traj", "-o", "out.extxyz", "--trajectory", "tj"]
ENDLESS = ["--fmax=1e-12", "--steps=100000"]
OFTEN = "import molflt.commands.relax_journal as j, molflt.cli as c, sys; "
OFTEN += "j.SAVE_EVERY = j._LEAST_WORK = 0.0; sys.exit(c.main(sys.argv[1:]))"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = [bulk("Cu", cubic=True) for _ in range(2)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    ase.io.write("in.traj", frames)
    return tmp_path


def frames_of(index) -> int:
    path = Path(f"tj/{index:06d}-in-{index}.traj")
    if not path.exists() or not path.stat().st_size:
        return 0
    with Trajectory(path) as frames:
        return len(frames)


def ended_after(steps, number, *start):
    """Start a relaxation without an end, and send a signal after some steps."""
    process = subprocess.Popen(
        [sys.executable, *start, *WORDS, *ENDLESS],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, Ctrl-C is ignored, also by children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 180
    while min(frames_of(0), frames_of(1)) < steps and time.monotonic() < end:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    return process.communicate(timeout=60)[1], process.returncode


def steps_in(name) -> list[int]:
    return [atoms.info["relax_steps"] for atoms in ase.io.read(name, ":")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_work_is_kept_when_a_signal_ends_the_run(folder, number, capsys):
    errors, code = ended_after(4, number, "-m", "molflt")
    assert code == 128 + number
    told = "molflt: Interrupted. out.partial.extxyz has what is done; go on with"
    assert f"{told} --resume." in errors
    assert "Traceback" not in errors
    left = steps_in("out.partial.extxyz")
    assert len(left) == 2
    assert min(left) >= 3
    assert not Path("out.working.extxyz").exists()
    assert main([*WORDS, "--resume", f"--steps={max(left) + 5}", "--fmax=1e-12"]) == 1
    assert steps_in("out.extxyz") == [max(left) + 5] * 2
    # One frame a step, as if it had never stopped.
    assert [frames_of(0), frames_of(1)] == [max(left) + 6] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_little_is_lost_when_the_process_is_killed(folder, capsys):
    errors, code = ended_after(6, signal.SIGKILL, "-c", OFTEN)
    assert code == -signal.SIGKILL, errors
    assert Path("out.partial.extxyz").read_bytes() == b""
    left = steps_in("out.working.extxyz")
    assert len(left) == 2
    assert min(left) >= 4
    assert main(WORDS) == 2
    told = "An interrupted relaxation left out.working.extxyz; go on with --resume, or"
    assert told in capsys.readouterr().err
    assert main([*WORDS, "--resume", f"--steps={max(left) + 5}", "--fmax=1e-12"]) == 1
    assert steps_in("out.extxyz") == [max(left) + 5] * 2
    assert [frames_of(0), frames_of(1)] == [max(left) + 6] * 2
    # A file that was being written when the process ended has a hidden name.
    visible = [path.name for path in Path().glob("[!.]*")]
    assert sorted(visible) == ["in.traj", "out.extxyz", "tj"]


def test_signals_mean_afterwards_what_they_did_before():
    def mine(*_):
        seen.append(1)

    seen = []
    before = signal.signal(signal.SIGTERM, mine)
    try:
        with pytest.raises(Terminated), terminable():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is mine
        with terminable(), undisturbed():
            signal.raise_signal(signal.SIGTERM)  # while what is done is written down
        assert not seen
        signal.raise_signal(signal.SIGTERM)
        assert seen == [1]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_relaxations_run_in_threads_too(folder):
    """Where Python lets nobody handle signals."""
    codes = []
    words = [*WORDS, "--fmax=0.2"]
    thread = threading.Thread(target=lambda: codes.append(main(words)))
    thread.start()
    thread.join()
    assert codes == [0]
