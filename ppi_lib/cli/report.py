"""`ppi report`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import EmbedderName, Quiet, Store, app
from ppi_lib.errors import InputError


@app.command(epilog="Example: ppi report run/")
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run that `ppi train` made.")],
    sample: Annotated[int, typer.Option(help="Most proteins of a split to search neighbours for; 0: none.")] = 8000,
    draws: Annotated[int, typer.Option(help="Draws of the bootstrap.")] = 1000,
    store: Store = None,
    embedder: EmbedderName = None,
    quiet: Quiet = False,
):
    """Write report.html: scores, baselines, audit, calibration and provenance on one page."""
    from ppi_lib.assess import assess_run, has_baselines
    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.datasets import load_saved
    from ppi_lib.page import write_page

    if draws < 1:  # before baselines are fitted
        raise InputError(f"draws is {draws}; expected at least 1, and 1000 for a figure.")
    if sample < 0:
        raise InputError(f"--sample is {sample}; expected 0 for no search of neighbours, or a number of proteins.")
    load_checkpoint(run)
    if not has_baselines(run):
        places = {"store": store, "embedder": embedder}
        assess_run(run, load_saved(run / "data"), baselines=True, progress=not quiet, draws=draws, **places)
    page = write_page(run, sample=sample, draws=draws)
    typer.echo(f"{page} ({page.stat().st_size / 1e6:.1f} MB), its figures in {run / 'figures'}.")
