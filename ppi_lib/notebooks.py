"""The notebooks as reports: executed in order with other parameters, kept with outputs and as HTML."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ppi_lib.datasets import NAMES
from ppi_lib.errors import InputError
from ppi_lib.files import make_folder
from ppi_lib.report import format_table

# Without it a kernel prints what it thinks of its own connection.
_QUIET = ["--IPKernelApp.log_level=50"]


def _import_papermill():
    try:
        import nbconvert
        import papermill
    except ImportError as error:
        raise InputError(f"{error}. Install what notebooks need: pip install 'ppi_lib[notebooks]'.") from error
    return papermill, nbconvert.HTMLExporter()


def run_notebooks(
    notebooks: Path, out: Path, parameters: dict[str, str], *, say: Callable[[str], None] = print
) -> None:
    """Execute every notebook of `notebooks` in `out/notebooks`, as .ipynb and .html, and say how the model did.

    A notebook that fails ends the program with its error; its copy and those before it are kept.
    """
    if parameters["dataset"] not in NAMES:
        raise InputError(f"dataset is {parameters['dataset']!r}; expected one of {', '.join(NAMES)}.")
    papermill, exporter = _import_papermill()
    found = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise InputError(f"{notebooks}: no notebooks here. Run it in a checkout, or give --notebooks.")
    target = make_folder(out / "notebooks")
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype+notebook"  # the second shows figures in HTML without a network
    for path in found:
        say(f"{path.name} ...")
        began = time.monotonic()
        copy = target / path.name
        options = {"cwd": str(notebooks), "kernel_name": "python3", "extra_arguments": _QUIET}
        asked_for = papermill.inspect_notebook(path)
        given = {name: value for name, value in parameters.items() if name in asked_for}
        try:
            papermill.execute_notebook(path, copy, given, progress_bar=False, **options)
        except papermill.PapermillExecutionError as error:
            sys.exit(f"ppi: {path.name} failed: {error.ename}: {error.evalue}\nIts executed copy shows where: {copy}")
        html, _ = exporter.from_filename(str(copy))
        copy.with_suffix(".html").write_text(html)
        say(f"{'':{len(path.name)}} {time.monotonic() - began:.0f} s")
    _summarise(out, say)


def _summarise(out: Path, say: Callable[[str], None]) -> None:
    say("")
    say(format_table(pd.read_csv(out / "evaluation.csv")))
    for what, folder in (("Figures", out / "figures"), ("Notebooks with outputs", out / "notebooks")):
        say(f"{what}: {os.path.relpath(folder)} ({', '.join(sorted({p.suffix[1:] for p in folder.iterdir()}))})")
