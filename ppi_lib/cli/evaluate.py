"""`ppi evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import EmbedderName, Quiet, Store, app, say_notes


@app.command(epilog="Example: ppi evaluate run/ --baselines")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run that `ppi train` made.")],
    baselines: Annotated[bool, typer.Option("--baselines", help="Fit the baselines on the same pairs too.")] = False,
    store: Store = None,
    embedder: EmbedderName = None,
    quiet: Quiet = False,
):
    """Evaluate a run on its test pairs: metrics with protein-level intervals."""
    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.datasets import load_saved

    load_checkpoint(run)
    data = load_saved(run / "data")
    say_notes(data.notes)
    evaluate_run(run, data, quiet, baselines, store=store, embedder=embedder)


def evaluate_run(
    run: Path, data, quiet: bool, baselines: bool, *, store: Path | None = None, embedder: str | None = None
) -> None:
    """Score validation and test pairs, write the table and the scores, and print the table."""
    from ppi_lib.assess import assess_run
    from ppi_lib.report import format_table

    typer.echo(
        format_table(
            assess_run(run, data, baselines=baselines, store=store, embedder=embedder, progress=not quiet).table
        )
    )
    typer.echo(f"All numbers: {run / 'evaluation.csv'}; the scores of each pair: {run / 'scores.parquet'}")
