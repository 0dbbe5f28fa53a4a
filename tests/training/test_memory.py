"""Freed memory stays with the process, so a large array costs no page faults."""

import sys

import pytest

from tests.running import python

SCRIPT = """
import resource, sys
import torch
from molflt.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    # As in a training step, many arrays live at once and are freed together.
    kept = [torch.ones(2**18) for _ in range(100)]
step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


def page_faults(mode):
    return int(python("-c", SCRIPT, mode, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_large_arrays_are_not_mapped_anew():
    assert page_faults("keep") < 0.2 * page_faults("return")
