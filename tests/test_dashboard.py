"""The dashboard: buttons that are obeyed, numbers that are right, errors that come through, and bounded memory."""

import asyncio
import os
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("ipywidgets")

from ppi_lib import dashboard
from ppi_lib.dashboard import Dashboard, watch
from ppi_lib.errors import InputError, Interrupted
from ppi_lib.loop import Progress, Task, fit
from ppi_lib.settings import LoopConfig
from ppi_lib.steering import LossCurve, Steering, format_numbers

ROW = {"epoch": 1, "train_loss": 0.6, "validation_loss": 0.7, "validation_auroc": 0.8, "validation_auprc": 0.75}


def progress_at(step: int, *, epoch: int = 1, steps: int = 10, history=(), best_epoch: int = 0) -> Progress:
    return Progress(epoch, step, steps, 3, 1 / (step + 1), 1e-3, 0.0, tuple(history), best_epoch, 1000, "pairs")


def train(callbacks, steps=10, epochs=2, on_step=lambda epoch, step: None):
    """A training without a model: the loop's `fit` on one parameter."""
    model = nn.Linear(1, 1)

    def batches(epoch):
        for step in range(steps):
            on_step(epoch, step)
            yield [None]

    def validate():
        return {name: 0.5 for name in ("validation_loss", "validation_auroc", "validation_auprc")}

    task = Task(steps, batches, lambda _: model.weight.square().sum(), validate, 1000, "pairs")
    return fit(model, task, LoopConfig(epochs=epochs), callbacks=callbacks)


@pytest.fixture
def boards(monkeypatch):
    """Collect the dashboards that `watch` makes, so that a test can click."""
    made = []

    class Watched(Dashboard):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(dashboard, "Dashboard", Watched)
    return made


def test_it_returns_what_the_training_returns(boards):
    result = asyncio.run(watch(train, live=True))
    assert result.stopped == "epochs"
    assert len(result.history) == 2
    assert boards[0].steering.progress.history[-1]["epoch"] == 2


def test_a_training_without_a_front_end_is_the_same(capsys):
    assert len(asyncio.run(watch(train)).history) == 2
    assert "train" in capsys.readouterr().err


def test_stop_ends_the_training_and_keeps_the_best(boards):
    def click(epoch, step):
        if (epoch, step) == (2, 4):
            boards[0].buttons["Stop"].click()

    result = asyncio.run(watch(train, live=True, on_step=click))
    assert result.stopped == "callback"
    assert result.best_epoch == 1


def test_stop_within_the_first_epoch_says_that_there_is_nothing_to_keep(boards):
    with pytest.raises(InputError, match="before an epoch was done"):
        asyncio.run(watch(train, live=True, on_step=lambda *at: boards[0].buttons["Stop"].click()))
    assert boards[0].view.comm is None  # the widgets are taken away all the same


def test_pause_holds_the_training_until_resume(boards):
    steps = []

    def note(epoch, step):
        steps.append((epoch, step))
        if len(steps) == 3:
            boards[0].buttons["Pause"].click()

    async def click():
        waiting = asyncio.create_task(watch(train, live=True, on_step=note))
        while not (boards and boards[0].steering.waiting):
            await asyncio.sleep(0.01)
        assert len(steps) == 3
        boards[0].refresh()
        assert boards[0].state.value == "paused"
        assert "step 3" in boards[0].numbers.value  # where it stands, not where it was when last drawn
        assert boards[0].buttons["Pause"].disabled
        boards[0].buttons["Resume"].click()
        return await waiting

    assert len(asyncio.run(click()).history) == 2
    assert len(steps) == 20


def test_it_waits_for_a_click_on_start(boards):
    steps = []

    async def click():
        waiting = asyncio.create_task(watch(train, live=True, autostart=False, on_step=lambda *at: steps.append(at)))
        while not boards:
            await asyncio.sleep(0.01)
        assert steps == []
        assert boards[0].state.value == "ready"
        assert boards[0].buttons["Pause"].disabled
        boards[0].buttons["Start"].click()
        return await waiting

    assert len(asyncio.run(click()).history) == 2


def test_an_error_of_the_training_is_raised_in_the_cell(boards):
    def fail(epoch, step):
        raise ZeroDivisionError("of the training")

    with pytest.raises(ZeroDivisionError, match="of the training"):
        asyncio.run(watch(train, live=True, on_step=fail))


@pytest.mark.parametrize("live", [True, False])
def test_an_interrupted_cell_stops_the_training(live):
    epochs = []

    async def interrupt():
        waiting = asyncio.create_task(watch(train, live=live, epochs=10**6, on_step=lambda *at: epochs.append(at)))
        while len(epochs) < 20:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await waiting

    with pytest.raises(Interrupted, match=r"^Epoch \d+, the best so far, is kept. Run the cell again"):
        asyncio.run(interrupt())


def test_the_curves_show_the_history_and_the_best_epoch():
    steering = Steering(started=True)
    steering(progress_at(10, history=[ROW], best_epoch=1))
    board = Dashboard(steering, scores=True)
    found = {trace.meta: (list(trace.x), list(trace.y)) for trace in board.figure.data}
    assert found["validation_auroc"] == ([1], [0.8])
    assert found["train_loss"] == ([1.0], [1 / 11])
    assert {line.x0 for line in board.figure.layout.shapes} == {1}
    assert board.bar.value == pytest.approx(1 / 3)


def test_a_training_without_scores_has_one_panel():
    board = Dashboard(Steering(started=True), scores=False)
    assert {trace.meta for trace in board.figure.data} == {"train_loss", "validation_loss"}


def test_a_loss_curve_stays_short_and_keeps_its_mean():
    curve = LossCurve(points=100)
    for step in range(100_000):
        curve.add(step, step)
    assert len(curve.x) < 100
    assert curve.x == sorted(curve.x)
    mean = sum(curve.y) / len(curve.y)
    assert mean == pytest.approx(50_000, rel=0.03)


def test_the_numbers_say_speed_and_time_left():
    text = format_numbers(progress_at(5, epoch=2, history=[ROW], best_epoch=1), steps_per_second=0.5)
    assert "epoch 2 of 3" in text
    assert "50 pairs per second" in text  # 100 pairs a step
    assert "0:30 left at most" in text  # 15 steps
    assert "best epoch 1" in text


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by /proc")
def test_the_training_has_no_more_openmp_threads_than_it_asks_for():
    def count() -> int:
        return len(os.listdir("/proc/self/task"))

    def grow(callbacks):
        torch.ones(2**22).add_(1)
        found.append(count())

    threads, found = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        torch.ones(2**22).add_(1)  # starts two more, here
        before = count()
        asyncio.run(watch(grow))
        assert found == [before + 1]  # the training's thread and its two, less the two that waited here
    finally:
        torch.set_num_threads(threads)
