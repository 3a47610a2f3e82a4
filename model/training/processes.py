"""The processes that train one detector together, as torchrun starts them.

    torchrun --nproc-per-node 2 -m model.train CONFIG

Each computes the gradient of its share of every batch; the sum is the whole batch's, and all take the same step. Only
the first writes and evaluates; the others wait for it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

# An evaluation by the first process must fit in it: the others wait.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Processes:
    """How many there are, and which this one is: `rank` of all, `local_rank` on its machine. Alone by default."""

    count: int = 1
    rank: int = 0
    local_rank: int = 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Make each of `tensors`, of one type and device, its sum over the processes."""
        if self.count == 1 or not tensors:
            return
        together = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(together)
        parts = torch.split(together, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def largest(self, value: int) -> int:
        """The largest `value` of all processes."""
        if self.count == 1:
            return value
        told = torch.tensor([value], device=self._told_on)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return int(told)

    def gathered(self, mine: Sequence[bool], total: int) -> list[bool]:
        """The results for all `total` things, of which each process has those for every `count`th from `rank` on."""
        if self.count == 1:
            return list(mine)
        told = torch.zeros(total, dtype=torch.int64, device=self._told_on)
        told[self.rank :: self.count] = torch.tensor(list(mine), dtype=torch.int64).to(told.device)
        self.add_up([told])
        return [bool(each) for each in told.tolist()]

    @property
    def _told_on(self) -> str:
        """Where a tensor must be that is told to the others."""
        return f"cuda:{self.local_rank}" if dist.get_backend() == "nccl" else "cpu"

    def wait(self) -> None:
        """Waits until all have come here."""
        if self.count > 1:
            dist.barrier()


ALONE = Processes()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes of this run: gloo joins them on CPUs, NCCL on GPUs, each with a GPU of its own."""
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        local_rank = dist.get_node_local_rank()
        if device == "cuda":
            torch.cuda.set_device(local_rank)
        yield Processes(dist.get_world_size(), dist.get_rank(), local_rank)
    finally:
        dist.destroy_process_group()
