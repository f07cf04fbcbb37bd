"""Figures drawn through one browser: it is kept, replaced when it died, and gone with Python."""

import contextlib
import os
import subprocess
import sys

import plotly.graph_objects as go
import psutil
import pytest

from ppi_lib import drawing
from ppi_lib.drawing import Image, draw_images

FIGURE = go.Figure(layout={"width": 200, "height": 100})


@pytest.fixture
def draw(tmp_path):
    """Draw one figure, or skip where there is no browser."""

    def one(name: str):
        try:
            draw_images([Image(FIGURE, tmp_path / name)])
        except RuntimeError as error:
            pytest.skip(f"no Chrome or Chromium on this machine: {error}"[:100])
        return tmp_path / name

    return one


def test_a_browser_is_kept_and_replaced_when_it_died(draw):
    assert "<svg" in draw("first.svg").read_text()[:200]
    first = drawing._browser
    draw("second.svg")
    assert drawing._browser is first
    for process in psutil.Process().children(recursive=True):
        process.kill()
    assert "<svg" in draw("third.svg").read_text()[:200]
    assert drawing._browser is not first


def test_what_cannot_be_drawn_is_said(draw, tmp_path):
    draw("first.svg")
    with pytest.raises(Exception, match="no_such_folder"):
        draw_images([Image(FIGURE, tmp_path / "no_such_folder" / "x.svg")])
    draw("second.svg")


SCRIPT = """
import sys
from pathlib import Path
import plotly.graph_objects as go
from ppi_lib.drawing import Image, draw_images
draw_images([Image(go.Figure(layout={"width": 200, "height": 100}), Path(sys.argv[1]))])
"""


def test_the_browser_ends_with_python(draw, tmp_path):
    draw("first.svg")
    marked = {**os.environ, "PPI_LIB_DRAWS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "x.png"], env=marked, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "x.png").exists()
    environments = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environments.append(process.environ())
    assert not any(one.get("PPI_LIB_DRAWS") == str(tmp_path) for one in environments)


def test_without_a_browser_the_error_says_so(tmp_path):
    nowhere = {**os.environ, "BROWSER_PATH": str(tmp_path / "chrome")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "x.png"], env=nowhere, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "ChromeNotFoundError" in done.stderr
