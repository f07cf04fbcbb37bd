"""A training that can be watched and steered from a notebook: curves that move, and Start, Pause, Resume and Stop.

`result = await watch(train_checkpoint, store, train, validation, out=...)` runs any function that takes `callbacks`
(training and pretraining) in a thread, while the cell waits and draws. The thread only notes its progress; all
drawing is done here, a few times a second whatever the speed of the steps.

The choice worth knowing: a cell that trains by itself would never see a click, so the training has the thread and the
cell the widgets. The buttons set events that the training looks at after each step. Stop ends it with the best
checkpoint; the same cell run again goes on from the last whole epoch.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
from IPython.display import HTML, display
from plotly.subplots import make_subplots

from ppi_lib.figures import plot_history
from ppi_lib.loop import Progress, StopTraining
from ppi_lib.progress import ProgressBar
from ppi_lib.style import DASHES, GREY, PALETTE, TEMPLATE

_POINTS = 400
_SECONDS = 0.1
_DRAW_EVERY = 0.5
_SERIES = {
    "train_loss": ("training", 1, 0),
    "validation_loss": ("validation", 1, 1),
    "validation_auroc": ("AUROC", 2, 0),
    "validation_auprc": ("AUPRC", 2, 1),
}


def has_front_end() -> bool:
    """Say whether someone looks at this kernel: JupyterLab and VS Code start theirs with these variables."""
    return "ipykernel" in sys.modules and any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID"))


class LossCurve:
    """The loss of every step in at most `points` points; when they are full, neighbours become their mean."""

    def __init__(self, points: int = _POINTS):
        self.points, self.steps_each = points, 1
        self.x: list[float] = []
        self.y: list[float] = []
        self._sum, self._count = 0.0, 0

    def add(self, x: float, y: float) -> None:
        self._sum, self._count = self._sum + y, self._count + 1
        if self._count < self.steps_each:
            return
        self.x.append(x)
        self.y.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self.x) == self.points:
            self.x = self.x[1::2]
            self.y = [(one + two) / 2 for one, two in zip(self.y[::2], self.y[1::2], strict=True)]
            self.steps_each *= 2


class Steering:
    """What the training is told and what it tells: the callback that runs in its thread."""

    def __init__(self, started: bool):
        self.start, self.pause, self.stop = (threading.Event() for _ in range(3))
        if started:
            self.start.set()
        self.progress: Progress | None = None
        self.curve = LossCurve()
        self.waiting = False
        """Whether the training stands still, as it was asked to."""
        self.steps_per_second = 0.0
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if self.progress is None or progress.step != self.progress.step or progress.epoch != self.progress.epoch:
            self._note_step(progress)
        self.progress = progress
        while self.pause.is_set() and not self.stop.is_set():
            self.waiting = True
            time.sleep(_SECONDS / 2)
        self.waiting = False
        if self.stop.is_set():
            raise StopTraining
        self._last = time.monotonic()

    def _note_step(self, progress: Progress) -> None:
        seconds = time.monotonic() - self._last
        if self.progress is not None and seconds > 0:
            mean = self.steps_per_second or 1 / seconds
            self.steps_per_second = 0.9 * mean + 0.1 / seconds
        self.curve.add(progress.epoch - 1 + progress.step / progress.steps, progress.loss)

    def wait_for_start(self) -> None:
        while not (self.start.is_set() or self.stop.is_set()):
            time.sleep(_SECONDS / 2)


class Dashboard:
    """The widgets: four buttons, a bar, a line of numbers, and the curves."""

    def __init__(self, steering: Steering, scores: bool):
        self.steering = steering
        self.actions = {
            "Start": steering.start.set,
            "Pause": steering.pause.set,
            "Resume": steering.pause.clear,
            "Stop": steering.stop.set,
        }
        self.buttons = {
            name: widgets.Button(description=name, icon=icon, layout=widgets.Layout(width="100px"))
            for name, icon in zip(self.actions, ("play", "pause", "step-forward", "stop"), strict=True)
        }
        for button in self.buttons.values():
            button.on_click(self._obey)
        self.bar = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="260px"))
        self.state, self.numbers = widgets.HTML(), widgets.HTML()
        self.figure = _make_figure(scores)
        top = widgets.HBox([*self.buttons.values(), self.bar, self.state])
        self.view = widgets.VBox([top, self.numbers, self.figure])
        self._drawn: Progress | None = None
        self.refresh()

    def _obey(self, button: widgets.Button) -> None:
        self.actions[button.description]()
        self.refresh()

    def refresh(self) -> None:
        """Show the state, and the numbers and curves if a step was done since."""
        steering = self.steering
        started, paused, stopped = (event.is_set() for event in (steering.start, steering.pause, steering.stop))
        allowed = {"Start": not started, "Pause": not paused, "Resume": paused, "Stop": True}
        for name, button in self.buttons.items():
            button.disabled = stopped or not (allowed[name] and (started or name in ("Start", "Stop")))
        self.state.value = _describe(started, paused, stopped, steering)
        progress = self.steering.progress
        if progress is None or progress is self._drawn:
            return
        self._drawn = progress
        done = (progress.epoch - 1) * progress.steps + progress.step
        self.bar.value = done / (progress.epochs * progress.steps)
        self.numbers.value = format_numbers(progress, self.steering.steps_per_second)
        self._draw(progress)

    def _draw(self, progress: Progress) -> None:
        history, curve = progress.history, self.steering.curve
        series = {name: ([row["epoch"] for row in history], [row.get(name) for row in history]) for name in _SERIES}
        series["train_loss"] = (list(curve.x), list(curve.y))
        with self.figure.batch_update():
            for trace in self.figure.data:
                trace.x, trace.y = series[trace.meta]
            best = {"x0": progress.best_epoch, "x1": progress.best_epoch, "visible": progress.best_epoch > 0}
            for line in self.figure.layout.shapes:
                line.update(best)


def _make_figure(scores: bool) -> go.FigureWidget:
    """Loss by step and by epoch, and beside it the validation's scores; a line stands at the best epoch."""
    columns = 2 if scores else 1
    figure = go.FigureWidget(make_subplots(rows=1, cols=columns, horizontal_spacing=0.1))
    for name, (label, column, style) in _SERIES.items():
        if column > columns:
            continue
        line = {"color": PALETTE[style], "dash": DASHES[style], "width": 1.6}
        mode = "lines" if name == "train_loss" else "lines+markers"
        place = {"legend": "legend" if column == 1 else f"legend{column}"}
        figure.add_trace(go.Scatter(x=[], y=[], name=label, meta=name, mode=mode, line=line, **place), 1, column)
    figure.add_vline(0, line={"color": GREY, "width": 0.8, "dash": "dot"}, visible=False, row="all", col="all")
    figure.update_xaxes(title_text="epoch", rangemode="tozero", nticks=6)
    for column, title in enumerate(("loss", "validation score")[:columns], start=1):
        figure.update_yaxes(title_text=title, row=1, col=column)
    legend = {"orientation": "h", "xanchor": "left", "yanchor": "bottom", "y": 1.02}
    figure.update_layout(template=TEMPLATE, width=450 * columns, height=280, legend={**legend, "x": 0})
    return figure.update_layout(legend2={**legend, "x": 0.55}) if scores else figure


def _describe(started: bool, paused: bool, stopped: bool, steering: Steering) -> str:
    if stopped:
        return "stopping: the best checkpoint is kept"
    if not started:
        return "ready"
    if paused:
        return "paused" if steering.waiting else "pausing after this step"
    return "training" if steering.progress else "preparing"


def format_numbers(progress: Progress, steps_per_second: float) -> str:
    """Return one line: epoch, step, loss, learning rate, speed, time left, best epoch."""
    left = progress.epochs * progress.steps - (progress.epoch - 1) * progress.steps - progress.step
    rate = steps_per_second * progress.examples / progress.steps
    parts = [
        f"epoch {progress.epoch} of {progress.epochs}",
        f"step {progress.step:,} of {progress.steps:,}",
        f"loss {progress.loss:.4f}",
        f"learning rate {progress.learning_rate:.1e}",
        f"{rate:,.0f} {progress.unit} per second" if rate else "",
        f"{_clock(left / steps_per_second)} left at most" if steps_per_second else "",
        f"best epoch {progress.best_epoch}" if progress.best_epoch else "",
    ]
    return " · ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


async def watch(
    train: Callable[..., Any],
    *arguments,
    scores: bool = True,
    autostart: bool = True,
    live: bool | None = None,
    **options,
) -> Any:
    """Run `train(*arguments, callbacks=[...], **options)` with a dashboard, show its history, return what it returns.

    `live` says whether to show it, by default where a front end is; without one the progress is a line of text and the
    training is the same. `scores` is False for a training whose validation has no AUROC, such as pretraining. With
    `autostart=False` it waits for a click on Start. An error of the training is raised here; an interrupt stops the
    training after its step, with the best checkpoint kept, and is raised again.
    """
    if not (has_front_end() if live is None else live):
        bar = ProgressBar()
        try:
            result = train(*arguments, callbacks=[bar], **options)
        finally:
            bar.close()
    else:
        board = Dashboard(Steering(autostart), scores)
        shown = display(board.view, display_id=True)
        result = await _run(board, train, *arguments, **options)
        board.view.close()
        if shown is not None:  # in a kernel: an exported page could not show the widgets
            shown.update(HTML(""))
    _show_history(result)
    return result


async def _run(board: Dashboard, train: Callable[..., Any], *arguments, **options) -> Any:
    """Let a thread train, and draw until it is done."""
    steering = board.steering

    def run() -> Any:
        steering.wait_for_start()
        return train(*arguments, callbacks=[steering], **options)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        try:
            await _follow(future, board)
        except (KeyboardInterrupt, asyncio.CancelledError):
            print("Interrupted. The best epoch so far is kept; the same cell goes on from the last whole epoch.")
            raise
        finally:
            steering.stop.set()
    return future.result()


async def _follow(future, board: Dashboard) -> None:
    """Draw until the training is over."""
    drawn = 0.0
    while not future.done():
        if time.monotonic() - drawn > _DRAW_EVERY:
            board.refresh()
            drawn = time.monotonic()
        await asyncio.sleep(_SECONDS)


def _show_history(result: Any) -> None:
    """Display the history of what a training returned, as a figure and a table."""
    parts = (result, *result) if isinstance(result, tuple) else (result,)
    found = next((part for part in parts if hasattr(part, "history")), None)
    if found is None or found.history.empty:
        return
    if set(_SERIES) <= set(found.history):
        display(plot_history(found.history, best_epoch=found.best_epoch))
    display(found.history.round(4))
