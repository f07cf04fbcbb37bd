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
    from ppi_lib.baselines import run_baselines
    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.embed import embed_proteins
    from ppi_lib.files import write_atomically
    from ppi_lib.predict import predict_pairs
    from ppi_lib.report import Scored, evaluate_scored, format_table

    checkpoint = load_checkpoint(run)
    store = embed_proteins(
        data.proteins, store or run / "store", embedder=embedder, wanted=checkpoint.embedding, progress=not quiet
    )
    test, validation = (
        predict_pairs(checkpoint.model, store, pairs, progress=not quiet).probabilities
        for pairs in (data.test, data.validation)
    )
    scored = [Scored(f"{checkpoint.provenance['size']} cross-attention", "ours", test, validation)]
    if baselines:
        pooled = {protein: store[protein].mean(axis=0) for protein in data.proteins.sequences}
        found = run_baselines(data.proteins.sequences, data.train, data.validation, data.test, pooled=pooled)
        scored += [Scored(b.name, "baseline", b.probabilities, b.validation_probabilities) for b in found]
    table = evaluate_scored(scored, data.validation, data.test)
    write_atomically(run / "evaluation.csv", lambda path: table.to_csv(path, index=False))
    typer.echo(format_table(table))
    typer.echo(f"All numbers: {run / 'evaluation.csv'}")
