"""Training on several processes at once, through Accelerate: each works on its share of every batch.

`accelerate launch` or `torchrun` starts the processes; each asks `team()` who it is. All hold the whole model and read
the same files. Of each step's batch a process takes an equal part; losses and gradients are added up over
the team, so all take the same step, which is the step that one process would take. The first process alone writes,
shows progress and obeys callbacks. Without a launcher a process is a team of one, and all below does nothing.

The choice worth knowing: random numbers of dropout are drawn by each process for its own examples, from the seed, the
epoch and its rank. So with dropout a team of two is as random as one process, but not the same; without, it is the
same to rounding.
"""

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache

import torch
from torch import Tensor, nn

from ppi_lib.errors import InputError

_PATIENCE = timedelta(days=1)
"""How long processes wait for one that embeds or encodes. One that dies is noticed at once."""


class Team:
    """The processes of a training, seen from one of them; `state` is Accelerate's, or None for a process alone."""

    def __init__(self, state=None):
        self._state = state
        self.rank, self.size = (0, 1) if state is None else (state.process_index, state.num_processes)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    def place(self, model: nn.Module) -> nn.Module:
        """Move a model to the device that the launcher gave this process; without a launcher it stays."""
        return model if self._state is None else model.to(self._state.device)

    def seed(self, *numbers: int) -> int:
        """Return a seed for this process; a process alone, and the first, have that of the numbers."""
        return hash((*numbers, self.rank) if self.rank else numbers) % 2**63

    def share(self, rows: Tensor) -> Tensor:
        """Return this process's part of `rows`, dealt like cards: of sorted rows each gets some of all lengths."""
        return rows[self.rank :: self.size]

    def parts(self, rows: Tensor, size: int) -> list[Tensor]:
        """Return this process's part of `rows` in pieces of `size`; none if there is nothing for it."""
        mine = self.share(rows)
        return list(mine.split(size)) if len(mine) else []

    def sum(self, values: Tensor) -> Tensor:
        """Add `values` up over the team, in place; every process gets the same bits."""
        if self.size > 1:
            from accelerate.utils import reduce

            values.copy_(reduce(values.to(self._state.device), "sum"))
        return values

    def sum_step(self, parameters: Iterable[nn.Parameter], loss: float) -> float:
        """Add up the gradients over the team, in place, and the loss; where nobody has a gradient there is none."""
        if self.size == 1:
            return loss
        parameters = list(parameters)
        head = torch.tensor([loss, *(p.grad is not None for p in parameters)], device=parameters[0].device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self.sum(torch.cat([head, *(gradient.flatten() for gradient in gradients)]))
        head, *rows = flat.split([len(head), *(p.numel() for p in parameters)])
        for p, found, row in zip(parameters, head[1:].tolist(), rows, strict=True):
            p.grad = row.view_as(p) if found else None
        return head[0].item()

    def any(self, flag: bool) -> bool:
        """Say whether `flag` is true of some process."""
        return bool(self.sum(torch.tensor(float(flag))) > 0)

    def share_weights(self, model: nn.Module) -> None:
        """Give the first process's weights and buffers to all."""
        if self.size > 1:
            from accelerate.utils import broadcast

            for value in model.state_dict().values():
                value.copy_(broadcast(value.detach().to(self._state.device)))

    def require_same(self, number: int, what: str) -> None:
        """Raise `InputError` on every process unless all found the same number."""
        if self.any(int(self.sum(torch.tensor(number))) != number * self.size):
            raise InputError(
                f"{what}: process {self.rank} of {self.size} finds {number}, another process another number. Expected "
                "one folder that all processes see; choose one on a shared disk."
            )

    @contextmanager
    def first(self) -> Iterator[None]:
        """Let the first process go through a `with` alone, then the others, who find what it has written."""
        if self.size == 1:
            yield
            return
        with self._state.main_process_first():
            yield

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size > 1:
            self._state.wait_for_everyone()


@cache
def team() -> Team:
    """Return the team that a launcher made (it sets `LOCAL_RANK`), or this process alone."""
    if "LOCAL_RANK" not in os.environ:
        return Team()
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    state = PartialState(cpu=cpu, timeout=_PATIENCE)
    atexit.register(state.destroy_process_group)  # or its threads may still run when the process ends, which aborts it
    return Team(state)
