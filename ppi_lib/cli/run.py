"""`ppi run`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Size, app


@app.command(epilog="Example: ppi run --dataset demo")
def run(
    dataset: Annotated[str, typer.Option(help="demo, bernett, b4ppi_yeast or b4ppi_human.")] = "demo",
    size: Annotated[Size | None, typer.Option(help="Preset; default: v3 for demo, else v5.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all results; default: runs/<dataset>.")] = None,
    notebooks: Annotated[Path, typer.Option(help="Folder of the notebooks.")] = Path("notebooks"),
):
    """Execute the notebooks in order on a dataset; leaves copies with outputs, HTML and figures."""
    from ppi_lib.notebooks import run_notebooks

    chosen = size.value if size else ("v3" if dataset == "demo" else "v5")
    folder = (out or Path("runs") / dataset).resolve()
    run_notebooks(notebooks, folder, {"dataset": dataset, "size": chosen, "out": str(folder)}, say=typer.echo)
