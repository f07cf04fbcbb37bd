"""Figures to image files through one browser, which stays open until Python ends: to start it takes longest."""

import asyncio
import atexit
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go


class Image(NamedTuple):
    figure: go.Figure
    """With the width and height of its layout."""
    path: Path
    """Its ending says the format: .pdf, .svg or .png."""
    scale: float = 1
    """Pixels of a .png for each of the layout's."""


class _Browser:
    """A browser and the event loop that talks to it, in a thread of its own: a notebook's thread runs one already."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="browser", daemon=True).start()
        try:
            self.kaleido = self._wait(self._open())
        except BaseException:
            self.loop.call_soon_threadsafe(self.loop.stop)
            raise
        atexit.register(self.close)

    async def _open(self):
        from kaleido import Kaleido

        return await Kaleido(n=2, mathjax=False)  # MathJax would come from the network

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def draw(self, images: Sequence[Image]) -> None:
        jobs = []
        for figure, path, scale in images:
            size = {"width": figure.layout.width, "height": figure.layout.height}
            options = {"format": path.suffix.removeprefix("."), "scale": scale, **size}
            jobs.append({"fig": figure.to_dict(), "path": path, "opts": options})
        self._wait(self.kaleido.write_fig_from_object(jobs, cancel_on_error=True))

    def close(self) -> None:
        atexit.unregister(self.close)
        with suppress(Exception):  # it may be gone already
            self._wait(self.kaleido.close())
        self.loop.call_soon_threadsafe(self.loop.stop)


_browser: _Browser | None = None


def draw_images(images: Sequence[Image]) -> None:
    """Write each image. Raises `RuntimeError` where no Chrome or Chromium can be started."""
    global _browser
    was_open, _browser = _browser is not None, _browser or _Browser()
    try:
        _browser.draw(images)
    except Exception:
        _browser.close()
        _browser = None
        if not was_open:
            raise
        draw_images(images)  # the open one may have died since
