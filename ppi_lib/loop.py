"""What every training has: steps, clipping, early stopping, checkpoints, resume, history, callbacks.

`fit` is the one loop. It knows nothing of pairs or proteins: a `Task` says how an epoch's batches are made,
what their loss is and how the model is validated. Its settings are in `settings.py`.

Resume: the state after each epoch is on disk, and an epoch's random numbers depend on the seed and the epoch
alone. A run killed at any moment and started again ends with the same weights, bit for bit on a CPU with the
same number of threads.

Several processes train one model together if a launcher started them (`parallel.py`).
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically
from ppi_lib.memory import keep_freed_memory
from ppi_lib.parallel import team
from ppi_lib.settings import LoopConfig, make_schedule, resolve_precision

Row = dict[str, float | int]
"""One epoch of a history."""


class Task(NamedTuple):
    """What is trained, for `fit`."""

    steps: int
    """Optimiser steps of an epoch."""
    batches: Callable[[int], Iterable[Sequence[Any]]]
    """From the epoch to its steps; a step is a list of micro-batches whose gradients are added up."""
    loss: Callable[[Any], Tensor]
    """From a micro-batch to its share of the step's mean loss."""
    validate: Callable[[], dict[str, float]]
    """Numbers of the model as it is, named as in the history."""
    examples: int
    """Examples of an epoch."""
    unit: str
    """What an example is: `pairs` or `proteins`."""


class Progress(NamedTuple):
    """What a callback is told after each step, and once more when the epoch's row is in the history."""

    epoch: int
    step: int
    """Steps done in this epoch, 1 to `steps`."""
    steps: int
    epochs: int
    loss: float
    learning_rate: float
    seconds: float
    """Since this call of `fit` began."""
    history: tuple[Row, ...]
    """One row for each finished epoch."""
    best_epoch: int
    """The best of them, 0 before there is one."""
    examples: int
    """Examples of an epoch."""
    unit: str
    """What an example is."""


class StopTraining(Exception):
    """Raised by a callback to end the training after this step; the best checkpoint stays."""


Callback = Callable[[Progress], None]


class FitResult(NamedTuple):
    history: pd.DataFrame
    best_epoch: int
    stopped: str
    """Why it ended: `epochs`, `patience` or `callback`."""


def _state_key(config: LoopConfig, identity: str) -> str:
    return json.dumps([identity, vars(config)])


def read_state(path: Path, config: LoopConfig, identity: str) -> dict[str, Any]:
    """Read a training's state, or raise `InputError` unless it is whole and of these settings and this identity."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except Exception as error:
        raise InputError(f"{path}: not a whole training state ({error}). Delete it to start again.") from error
    if state["key"] != _state_key(config, identity):
        raise InputError(
            f"{path}: the state of a training with other settings, data or another model. Choose another folder or "
            "delete it."
        )
    return state


class _Run:
    """The state of a training: what a checkpoint holds."""

    def __init__(self, model: nn.Module, task: Task, config: LoopConfig, identity: str):
        self.model, self.config = model, config
        self.identity = identity
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.named:
            raise InputError("No parameter of the model requires a gradient; unfreeze what is to be trained.")
        fused = all(p.device.type in ("cpu", "cuda") for p in self.named.values())
        self.optimizer = torch.optim.AdamW(
            self.named.values(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused
        )
        self.schedule = make_schedule(self.optimizer, config, task.steps * config.epochs)
        self.history: list[Row] = []
        self.best_weights: dict[str, Tensor] = {}

    @property
    def sign(self) -> int:
        return -1 if self.config.monitor.endswith("loss") else 1

    @property
    def best_epoch(self) -> int:
        return max(self.history, key=lambda row: self.sign * row[self.config.monitor])["epoch"] if self.history else 0

    def keep_if_best(self) -> bool:
        """Remember the weights if the last epoch is the best so far."""
        if self.best_epoch != self.history[-1]["epoch"]:
            return False
        self.best_weights = {name: p.detach().clone() for name, p in self.named.items()}
        return True

    def state(self) -> dict[str, Any]:
        return {
            "key": _state_key(self.config, self.identity),
            "weights": {name: p.detach() for name, p in self.named.items()},
            "best_weights": self.best_weights,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
        }

    def load(self, path: Path) -> None:
        state = read_state(path, self.config, self.identity)
        if state["weights"].keys() != self.named.keys():
            raise InputError(f"{path}: other parameters were trained. Choose another folder or delete it.")
        self.restore(state["weights"])
        self.best_weights = state["best_weights"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.history = state["history"]

    def restore(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(weights[name])


def optimise(run: _Run, task: Task, micro_batches: Sequence[Any], dtype: torch.dtype) -> float:
    """Do one step of the optimiser and return the loss."""
    run.optimizer.zero_grad(set_to_none=True)
    device = next(iter(run.named.values())).device
    total = 0.0
    for batch in micro_batches:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = task.loss(batch)
        loss.backward()
        total += loss.item()
    total = team().sum_step(run.named.values(), total)
    if not math.isfinite(total):
        raise InputError(f"The training loss became {total}; lower learning_rate, which is {run.config.learning_rate}.")
    norm = nn.utils.get_total_norm([p.grad for p in run.named.values() if p.grad is not None])
    if norm > run.config.clip:
        nn.utils.clip_grads_with_norm_(run.named.values(), run.config.clip, norm)
    run.optimizer.step()
    run.schedule.step()
    return total


def fit(
    model: nn.Module,
    task: Task,
    config: LoopConfig,
    *,
    state_path: Path | None = None,
    identity: str = "",
    callbacks: Sequence[Callback] = (),
) -> FitResult:
    """Train until the epochs are over, patience is, or a callback raises `StopTraining`.

    The parameters of `model` that require gradients are trained; it ends with the weights of the best epoch.
    With `state_path` the state is saved there after each epoch, and a state found there is gone on from if it is
    of the same settings and `identity` (what else the result depends on: data, frozen weights).
    """
    keep_freed_memory()
    run = _Run(model, task, config, identity)
    if state_path is not None and state_path.exists():
        run.load(state_path)
    team().require_same(len(run.history), f"{state_path}: epochs done")
    callbacks = callbacks if team().main else ()
    dtype = resolve_precision(config.precision, next(iter(run.named.values())).device)
    start, stopped, training = time.monotonic(), "epochs", model.training
    with torch.random.fork_rng():
        try:
            for epoch in range(len(run.history) + 1, config.epochs + 1):
                if len(run.history) - run.best_epoch >= config.patience:
                    stopped = "patience"
                    break
                row, progress = _run_epoch(run, task, epoch, dtype, start, callbacks)
                run.history.append(row)
                run.keep_if_best()
                if state_path is not None and team().main:
                    write_atomically(state_path, lambda path: torch.save(run.state(), path))
                _tell(callbacks, progress._replace(history=tuple(run.history), best_epoch=run.best_epoch))
        except StopTraining:
            stopped = "callback"
        finally:
            model.train(training)
    if not run.history:
        raise InputError(
            "The training was stopped before its first epoch was done; nothing of it is kept. Start again."
        )
    run.restore(run.best_weights)
    return FitResult(pd.DataFrame(run.history), run.best_epoch, stopped)


def _run_epoch(
    run: _Run, task: Task, epoch: int, dtype: torch.dtype, start: float, callbacks: Sequence[Callback]
) -> tuple[Row, Progress]:
    """Train one epoch, validate, and return the history's row and what the last step told."""
    torch.manual_seed(team().seed(run.config.seed, epoch))
    run.model.train()
    began, losses = time.monotonic(), []
    for step, micro_batches in enumerate(task.batches(epoch), start=1):
        losses.append(optimise(run, task, micro_batches, dtype))
        rate = run.schedule.get_last_lr()[0]
        progress = Progress(
            epoch,
            step,
            task.steps,
            run.config.epochs,
            losses[-1],
            rate,
            time.monotonic() - start,
            tuple(run.history),
            run.best_epoch,
            task.examples,
            task.unit,
        )
        _tell(callbacks, progress)
    seconds = time.monotonic() - began
    run.model.eval()
    row = {"epoch": epoch, "train_loss": sum(losses) / len(losses), "learning_rate": rate, "seconds": seconds}
    return row | task.validate(), progress


def _tell(callbacks: Sequence[Callback], progress: Progress) -> None:
    """Call the callbacks; if one of them stops the training, it stops in all processes."""
    stop = False
    try:
        for callback in callbacks:
            callback(progress)
    except StopTraining:
        stop = True
    if team().any(stop):
        raise StopTraining


def shuffled_batches(count: int, size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Deal the numbers below `count` into batches of `size` in an order that seed and epoch fix."""
    generator = torch.Generator().manual_seed(hash((seed, epoch)) % 2**63)
    yield from torch.randperm(count, generator=generator).split(size)
