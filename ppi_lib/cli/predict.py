"""`ppi predict`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Device, EmbedderName, Fasta, Prevalence, Quiet, Store, app, say_calibration, say_notes
from ppi_lib.errors import InputError


@app.command(epilog="Example: ppi predict run/ proteins.fasta new_pairs.tsv --out scores.parquet")
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run that `ppi train` made.")],
    proteins: Fasta,
    pairs: Annotated[Path, typer.Argument(help="Pairs to score; labels are not needed.")],
    out: Annotated[Path, typer.Option(help="Table to write: .parquet, .tsv or .csv.")] = Path("scores.parquet"),
    prevalence: Prevalence = None,
    store: Store = None,
    embedder: EmbedderName = None,
    device: Device = "auto",
    quiet: Quiet = False,
):
    """Score new pairs with a trained model."""
    import tempfile

    import numpy as np

    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.embed import embed_proteins
    from ppi_lib.predict import check_target, predict_pairs, write_predictions
    from ppi_lib.proteins import check_pairs, read_pairs, read_proteins

    check_target(out)
    if out.resolve() in (proteins.resolve(), pairs.resolve()):
        raise InputError(f"{out}: is one of the files that are read. Choose another --out.")
    checkpoint = load_checkpoint(run)
    checkpoint.calibration.probabilities(np.zeros(1), prevalence=prevalence)  # a wrong one is said before long work
    read, table = read_proteins(proteins), read_pairs(pairs, labels="ignored")
    check_pairs(table, read, str(pairs))
    say_notes((*read.notes, *table.notes))
    with tempfile.TemporaryDirectory() as folder:
        options = {"embedder": embedder, "wanted": checkpoint.embedding, "device": device, "progress": not quiet}
        embedded = embed_proteins(read.take(table.proteins), store or folder, **options)
        prediction = predict_pairs(checkpoint.model, embedded, table, progress=not quiet)
    probabilities = checkpoint.calibration.probabilities(prediction.logits, prevalence=prevalence)
    write_predictions(table, prediction, checkpoint.threshold, out, probabilities)
    called = int((prediction.probabilities >= checkpoint.threshold).sum())
    meaning = say_calibration(checkpoint.calibration, prevalence)
    typer.echo(f"{len(table):,} pairs in {out}; {called:,} called as interacting. {meaning}")
