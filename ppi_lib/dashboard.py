"""A training that can be watched and steered from a notebook: curves that move, and Start, Pause, Resume and Stop.

`result = await watch(train_checkpoint, store, train, validation, out=...)` runs any function that takes `callbacks`
(training and pretraining) in a thread, while the cell waits and draws. The thread only notes its progress; all
drawing is done here, a few times a second whatever the speed of the steps.

The choice worth knowing: a cell that trains by itself would never see a click, so the training has the thread and the
cell the widgets. The buttons set events that the training looks at after each step. Stop ends it with the best
checkpoint; the same cell run again goes on from the last whole epoch.
"""

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
from IPython.display import HTML, display
from plotly.subplots import make_subplots

from ppi_lib.errors import Interrupted
from ppi_lib.figures import plot_history
from ppi_lib.loop import Progress
from ppi_lib.progress import ProgressBar
from ppi_lib.steering import Steering, format_numbers
from ppi_lib.style import DASHES, GREY, PALETTE, TEMPLATE

_SECONDS = 0.05
_DRAW_EVERY = 0.5
_CLOSE_AFTER = 20
_SERIES = {
    "train_loss": ("training", 1, 0),
    "validation_loss": ("validation", 1, 1),
    "validation_auroc": ("AUROC", 2, 0),
    "validation_auprc": ("AUPRC", 2, 1),
}


def has_front_end() -> bool:
    """Say whether someone looks at this kernel: JupyterLab and VS Code start theirs with these variables."""
    return "ipykernel" in sys.modules and any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID"))


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
        self.top = widgets.HBox([*self.buttons.values(), self.bar, self.state])
        self.view = widgets.VBox([self.top, self.numbers, self.figure])
        self._shown = None
        self._drawn: Progress | None = None
        self._drawn_at, self._epochs_drawn = 0.0, 0
        self.refresh()

    def show(self) -> None:
        self._shown = display(self.view, display_id=True)

    def close(self) -> None:
        """Take the widgets away: an exported page could not show them."""
        if self._shown is None:  # in no kernel
            return self._close_widgets()
        self._shown.update(HTML(""))
        # a browser that is just about to draw them must still find them
        asyncio.get_running_loop().call_later(_CLOSE_AFTER, self._close_widgets)

    def _close_widgets(self) -> None:
        for widget in (*self.buttons.values(), self.bar, self.state, self.numbers, self.figure, self.top, self.view):
            widget.close()

    def _obey(self, button: widgets.Button) -> None:
        self.actions[button.description]()
        self.refresh()

    def refresh(self) -> None:
        """Show the state at once, and now and then the numbers and curves if a step was done since.

        The state comes last: where it says paused, the numbers are those of the step that it stands at.
        """
        steering, state = self.steering, self.steering.state
        due = steering.waiting or time.monotonic() - self._drawn_at > _DRAW_EVERY
        if due and steering.progress is not None and steering.progress is not self._drawn:
            self._show(steering.progress)
        started, paused, stopped = (event.is_set() for event in (steering.start, steering.pause, steering.stop))
        allowed = {"Start": not started, "Pause": not paused, "Resume": paused, "Stop": True}
        for name, button in self.buttons.items():
            button.disabled = stopped or not (allowed[name] and (started or name in ("Start", "Stop")))
        self.state.value = state

    def _show(self, progress: Progress) -> None:
        self._drawn, self._drawn_at = progress, time.monotonic()
        done = (progress.epoch - 1) * progress.steps + progress.step
        self.bar.value = done / (progress.epochs * progress.steps)
        self.numbers.value = format_numbers(progress, self.steering.steps_per_second)
        self._draw(progress)

    def _draw(self, progress: Progress) -> None:
        """Draw the loss of the steps anew, and what is known of epochs if another is done."""
        history, curve = progress.history, self.steering.curve
        series = {"train_loss": (list(curve.x), list(curve.y))}
        if len(history) > self._epochs_drawn:
            epochs = [row["epoch"] for row in history]
            series = {name: (epochs, [row.get(name) for row in history]) for name in _SERIES} | series
        with self.figure.batch_update():
            for trace in self.figure.data:
                if trace.meta in series:
                    trace.x, trace.y = series[trace.meta]
            if len(history) > self._epochs_drawn:
                best = {"x0": progress.best_epoch, "x1": progress.best_epoch, "visible": progress.best_epoch > 0}
                for line in self.figure.layout.shapes:
                    line.update(best)
        self._epochs_drawn = len(history)


class TextLine:
    """What stands in for the dashboard where nobody looks: a line of text."""

    def __init__(self, steering: Steering):
        self.steering, self.bar = steering, ProgressBar()
        self._drawn: Progress | None = None

    def show(self) -> None:
        """There is nothing to show before the first step."""

    def refresh(self) -> None:
        if self.steering.progress is not self._drawn:
            self._drawn = self.steering.progress
            self.bar(self._drawn)

    def close(self) -> None:
        self.bar.close()


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
    training after its step, with the best checkpoint kept, and is raised as `Interrupted`.
    """
    live = has_front_end() if live is None else live
    steering = Steering(autostart or not live)
    board = Dashboard(steering, scores) if live else TextLine(steering)
    board.show()
    try:
        result = await _run(board, train, *arguments, **options)
    finally:
        board.close()
    _show_history(result)
    return result


async def _run(board: "Dashboard | TextLine", train: Callable[..., Any], *arguments, **options) -> Any:
    """Let a thread train, and draw until it is done."""
    steering = board.steering

    def run() -> Any:
        steering.wait_for_start()
        return train(*arguments, callbacks=[steering], **options)

    _free_worker_threads()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        try:
            while not future.done():
                board.refresh()
                await asyncio.sleep(_SECONDS)
        except (KeyboardInterrupt, asyncio.CancelledError):
            interrupted = True
        else:
            interrupted = False
        finally:
            steering.stop.set()
    if interrupted:
        best = steering.progress.best_epoch if steering.progress else 0
        kept = f"Epoch {best}, the best so far, is kept" if best else "No epoch was done, so nothing is kept"
        raise Interrupted(f"{kept}. Run the cell again to go on from the last whole epoch.")
    board.refresh()
    return future.result()


def _free_worker_threads() -> None:
    """End the OpenMP threads of this thread, which waits now: the training has its own.

    With more of them than cores GNU's OpenMP puts each to sleep between any two operations, and a small model trains at
    less than half its speed.
    """
    try:
        ctypes.CDLL(None).omp_pause_resource_all(1)  # omp.h: omp_pause_soft; new ones start when they are needed
    except (AttributeError, OSError, TypeError):  # another system or OpenMP
        return


def _show_history(result: Any) -> None:
    """Display the history of what a training returned, as a figure and a table."""
    parts = (result, *result) if isinstance(result, tuple) else (result,)
    found = next((part for part in parts if hasattr(part, "history")), None)
    if found is None:
        return
    if set(_SERIES) <= set(found.history):
        display(plot_history(found.history, best_epoch=found.best_epoch))
    display(found.history.round(4))
