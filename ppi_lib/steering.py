"""A training in a thread, steered from outside: what it is told, what it tells, and where it stands.

The thread only notes; whoever draws looks at the notes as often as it likes, whatever the speed of the steps.
"""

import threading
import time

from ppi_lib.errors import InputError
from ppi_lib.loop import Progress, StopTraining

_POINTS = 400
_SECONDS = 0.05


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
    """The callback that runs in the training's thread."""

    def __init__(self, started: bool = True):
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
            time.sleep(_SECONDS)
        self.waiting = False
        if self.stop.is_set():
            if not progress.best_epoch:
                raise InputError("The training was stopped before an epoch was done: nothing to keep. Start it again.")
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
            time.sleep(_SECONDS)

    @property
    def state(self) -> str:
        """Where the training stands, in a few words."""
        if self.stop.is_set():
            return "stopping: the best checkpoint is kept"
        if not self.start.is_set():
            return "ready"
        if self.pause.is_set():
            return "paused" if self.waiting else "pausing after this step"
        return "training" if self.progress else "preparing"


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
