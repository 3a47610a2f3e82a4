"""One process by itself; test_run.py has two that train together."""

import torch

from model.training.processes import ALONE, joined


def test_outside_of_a_launcher_a_process_is_alone() -> None:
    with joined("cpu") as processes:
        assert processes == ALONE
        assert (processes.count, processes.rank, processes.local_rank) == (1, 0, 0)


def test_what_one_process_has_is_the_sum_already() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([4.0])
    ALONE.add_up(values)
    assert [value.tolist() for value in values] == [[[1.0, 2.0, 3.0]], [4.0]]


def test_one_process_waits_for_nobody() -> None:
    ALONE.wait()
    assert not torch.distributed.is_initialized()
