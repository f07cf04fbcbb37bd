"""`ppi run`, `ppi run-notebook` and `ppi figures`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Size, app
from ppi_lib.errors import InputError

Notebooks = Annotated[Path, typer.Option(help="Folder of the notebooks.")]
Out = Annotated[Path | None, typer.Option(help="Folder for all results; default: runs/<dataset>.")]
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(epilog="Example: ppi run --dataset demo")
def run(
    dataset: Annotated[str, typer.Option(help="demo, bernett, b4ppi_yeast or b4ppi_human.")] = "demo",
    size: Annotated[Size | None, typer.Option(help="Preset; default: v3 for demo, else v5.")] = None,
    out: Out = None,
    notebooks: Notebooks = Path("notebooks"),
):
    """Execute the notebooks in order on a dataset; leaves copies with outputs, HTML and figures."""
    from ppi_lib.notebooks import run_notebooks

    chosen = size.value if size else ("v3" if dataset == "demo" else "v5")
    folder = (out or Path("runs") / dataset).resolve()
    run_notebooks(notebooks, folder, {"dataset": dataset, "size": chosen, "out": str(folder)}, say=typer.echo)


@app.command(context_settings=_PASS_ON, epilog="Example: ppi run-notebook 05_evaluate -p dataset my.tsv -p size v5")
def run_notebook(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Such as 05_evaluate.")],
    out: Out = None,
    notebooks: Notebooks = Path("notebooks"),
):
    """Execute one notebook as a report on your data.

    `-p NAME VALUE` sets one of the notebook's parameters, and can be given several times.
    """
    from ppi_lib.notebooks import run_notebook as execute

    execute(notebooks / f"{name.removesuffix('.ipynb')}.ipynb", _read_parameters(context.args), out, say=typer.echo)


def _read_parameters(arguments: list[str]) -> dict[str, str]:
    """Read `-p NAME VALUE` again and again."""
    triples = [arguments[at : at + 3] for at in range(0, len(arguments), 3)]
    for triple in triples:
        if len(triple) < 3 or triple[0] != "-p":
            raise InputError(f"{' '.join(triple)}: expected -p NAME VALUE, such as -p dataset my.tsv.")
    return {name: value for _, name, value in triples}


@app.command(epilog="Example: ppi figures runs/demo/figures")
def figures(folder: Annotated[Path, typer.Argument(help="Where figures were saved.")]):
    """Draw all figures of a folder once more, dark, for slides."""
    from ppi_lib.style import draw_dark

    typer.echo(f"{len(draw_dark(folder))} files in {folder}")
