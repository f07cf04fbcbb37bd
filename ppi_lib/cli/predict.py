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
    samples: Annotated[
        int,
        typer.Option(help="Score this many times with dropout on, such as 20: how far the weights are to be believed."),
    ] = 0,
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
    from ppi_lib.uncertainty import sample_logits, summarise_samples

    check_target(out)
    if samples < 0 or samples == 1:
        raise InputError(f"--samples is {samples}; expected 0 for none, or at least 2, such as 20.")
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
        prediction, more = predict_pairs(checkpoint.model, embedded, table, progress=not quiet), {}
        if samples:
            sampled = sample_logits(checkpoint.model, embedded, table, samples=samples, progress=not quiet)
            spread = summarise_samples(sampled, checkpoint.calibration, prevalence=prevalence)
            more = {"deviation": spread.deviation, "knowledge": spread.knowledge}
    probabilities = checkpoint.calibration.probabilities(prediction.logits, prevalence=prevalence)
    write_predictions(table, prediction, checkpoint.threshold, out, probabilities, more)
    called = int((prediction.probabilities >= checkpoint.threshold).sum())
    meaning = say_calibration(checkpoint.calibration, prevalence)
    typer.echo(f"{len(table):,} pairs in {out}; {called:,} called as interacting. {meaning}")
