"""The notebooks as reports: executed in order with other parameters, kept with outputs and as HTML."""

import ast
import json
import os
import re
import sys
import time
from collections.abc import Callable
from html import escape
from pathlib import Path

import pandas as pd

from ppi_lib.datasets import NAMES
from ppi_lib.errors import InputError
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.report import format_table

# Without it a kernel prints what it thinks of its own connection.
_QUIET = ["--IPKernelApp.log_level=50"]


# what a page would fetch from elsewhere: MathJax, require.js and Mermaid, none of which these notebooks use
_REMOTE = re.compile(
    r'<script[^>]*src="https?://[^>]*>\s*</script>|<script type="module">\s*document.addEventListener.*?</script>',
    re.DOTALL,
)
_STYLE = (
    "body{font:16px/1.5 Arial,sans-serif;max-width:44em;margin:3em auto;padding:0 1em;color:#222}"
    "ul{list-style:none;padding:0}a{color:#0072B2;font-size:1.2em}li p{margin:.2em 0 1.4em}"
)
_WIDGET = "application/vnd.jupyter.widget-view+json"
_PATHS = ("dataset", "fasta", "embedder")


def _import_papermill():
    try:
        import nbconvert
        import papermill
    except ImportError as error:
        raise InputError(f"{error}. Install what notebooks need: pip install 'ppi_lib[notebooks]'.") from error
    return papermill, nbconvert.HTMLExporter()


def _write_page(exporter, notebook: Path) -> None:
    """Write an executed notebook as HTML that fetches nothing.

    Widgets, progress bars too, are left out: without a kernel they do nothing, and what draws them lies elsewhere.
    """
    import nbformat

    node = nbformat.read(notebook, as_version=4)
    node.metadata.pop("widgets", None)
    for cell in node.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", ())]
    html, _ = exporter.from_notebook_node(node, {"metadata": {"name": notebook.stem}})
    notebook.with_suffix(".html").write_text(_REMOTE.sub("", html), encoding="utf-8")


def _execute(notebook: Path, target: Path, parameters: dict, say: Callable[[str], None]) -> None:
    """Execute a copy of a notebook in `target`, with those of the parameters that it has, and write it as HTML too."""
    papermill, exporter = _import_papermill()
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype+notebook"  # the second shows figures in HTML without a network
    say(f"{notebook.name} ...")
    began, copy = time.monotonic(), target / notebook.name
    options = {"cwd": str(notebook.parent), "kernel_name": "python3", "extra_arguments": _QUIET}
    try:
        papermill.execute_notebook(notebook, copy, parameters, progress_bar=False, **options)
    except papermill.PapermillExecutionError as error:
        said = f"{notebook.name} failed: {error.ename}: {error.evalue}\nIts executed copy shows where: {copy}"
        if error.ename == InputError.__name__:
            raise InputError(f"{notebook.name}: {error.evalue}") from None
        sys.exit(f"ppi: {said}")
    _write_page(exporter, copy)
    say(f"{'':{len(notebook.name)}} {time.monotonic() - began:.0f} s")


def run_notebooks(
    notebooks: Path, out: Path, parameters: dict[str, str], *, say: Callable[[str], None] = print
) -> None:
    """Execute every notebook of `notebooks` in `out/notebooks`, as .ipynb and .html, and say how the model did.

    A notebook that fails ends the program with its error; its copy and those before it are kept.
    """
    if parameters["dataset"] not in NAMES:
        raise InputError(f"dataset is {parameters['dataset']!r}; expected one of {', '.join(NAMES)}.")
    papermill, _ = _import_papermill()
    found = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise InputError(f"{notebooks}: no notebooks here. Run it in a checkout, or give --notebooks.")
    target = make_folder(out / "notebooks")
    for path in found:
        asked_for = papermill.inspect_notebook(path)
        _execute(path, target, {name: value for name, value in parameters.items() if name in asked_for}, say)
    write_index(target, parameters["dataset"])
    _summarise(out, say)


def write_index(folder: Path, dataset: str) -> Path:
    """Write `index.html` for the executed notebooks of a folder: title and first lines of each, and a link."""
    entries = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        title, about = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"], ""
        title, _, about = ("".join(title) if isinstance(title, list) else title).partition("\n\n")
        about = escape(about.partition("\n\n")[0])
        entries.append(f'<li><a href="{path.stem}.html">{escape(title.lstrip("# "))}</a><p>{about}</p></li>')
    head = f'<meta charset="utf-8"><title>ppi_lib on {escape(dataset)}</title><style>{_STYLE}</style>'
    body = f"<h1>ppi_lib</h1><p>The notebooks, executed on {escape(dataset)}.</p><ul>{''.join(entries)}</ul>"
    page = f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'
    write_atomically(folder / "index.html", lambda path: path.write_text(page, encoding="utf-8"))
    return folder / "index.html"


def run_notebook(
    notebook: Path, parameters: dict[str, str], out: Path | None = None, *, say: Callable[[str], None] = print
) -> Path:
    """Execute one notebook with parameters as they are typed, and return the HTML page of the report.

    Results go to `out`, by default `runs` and the name of the dataset. Files are looked for where you are.
    """
    papermill, _ = _import_papermill()
    if not notebook.is_file():
        found = ", ".join(path.stem for path in sorted(notebook.parent.glob("[0-9][0-9]_*.ipynb")))
        raise InputError(f"{notebook}: there is no such notebook; expected one of: {found or 'none is there'}.")
    known = papermill.inspect_notebook(notebook)
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise InputError(f"{notebook.name} has no parameter {', '.join(unknown)}; expected some of {', '.join(known)}.")
    dataset = parameters.get("dataset", "demo")
    out = Path(out or parameters.get("out") or Path("runs") / Path(dataset).stem).resolve()
    given = {name: _read_value(name, value) for name, value in parameters.items()}
    target = make_folder(out / "notebooks")
    _execute(notebook, target, {**given, "out": str(out)}, say)
    page = (target / notebook.name).with_suffix(".html")
    say(f"Report: {os.path.relpath(page)}")
    return page


def _read_value(name: str, value: str):
    """Read a number or a truth value as such, and a path from where the user is: the notebook runs elsewhere."""
    is_path = name in _PATHS and value and value not in NAMES and (Path(value).suffix or Path(value).exists())
    if is_path:
        return str(Path(value).resolve())
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _summarise(out: Path, say: Callable[[str], None]) -> None:
    say("")
    say(format_table(pd.read_csv(out / "evaluation.csv")))
    for what, folder in (("Figures", out / "figures"), ("Notebooks with outputs", out / "notebooks")):
        say(f"{what}: {os.path.relpath(folder)} ({', '.join(sorted({p.suffix[1:] for p in folder.iterdir()}))})")
