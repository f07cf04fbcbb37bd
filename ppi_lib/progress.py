"""A training's progress as a line of text: a callback for `loop.fit`."""

from tqdm.auto import tqdm

from ppi_lib.loop import Progress


class ProgressBar:
    """One bar over all steps, with the loss and the last epoch's numbers behind it."""

    def __init__(self):
        self.bar: tqdm | None = None

    def __call__(self, progress: Progress) -> None:
        done = (progress.epoch - 1) * progress.steps + progress.step
        if self.bar is None:
            self.bar = tqdm(total=progress.epochs * progress.steps, desc="train", unit="step", initial=done - 1)
        self.bar.update(done - self.bar.n)
        shown = {"epoch": progress.epoch, "loss": f"{progress.loss:.3f}"}
        if progress.history and "validation_auroc" in progress.history[-1]:
            shown["AUROC"] = f"{progress.history[-1]['validation_auroc']:.3f}"
        self.bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
