import torch

from molflt.nn.blocks import block_atoms


def test_blocks_have_work_for_every_thread_and_do_not_grow_without_end(monkeypatch):
    sizes = []
    for threads in (1, 2, 1000):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=threads: count)
        sizes.append(block_atoms(10, 300, torch.device("cpu")))
    assert sizes == [10, 20, 300]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert block_atoms(10, 300, torch.device("meta")) == 300
