"""`ppi train`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Device, EmbedderName, Quiet, Size, Store, Transfer, app, keep_given_files, say_notes
from ppi_lib.cli.evaluate import evaluate_run
from ppi_lib.errors import InputError


@app.command(
    epilog="Example: ppi train proteins.fasta pairs.tsv --out run/    or: ppi train --dataset demo --size v3 --out run/"
)
def train(
    proteins: Annotated[Path | None, typer.Argument(help="Sequences: FASTA or a two-column table.")] = None,
    pairs: Annotated[Path | None, typer.Argument(help="Labelled pairs; split by protein unless told how.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that was cut off is gone on with.")] = Path("run"),
    dataset: Annotated[
        str | None, typer.Option(help="In place of files: demo, bernett, b4ppi_yeast or _human.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="Validation pairs.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test pairs.")] = None,
    size: Annotated[Size, typer.Option(help="Preset of the model.")] = Size.v5,
    store: Store = None,
    embedder: EmbedderName = None,
    device: Device = "auto",
    encoder: Annotated[Path | None, typer.Option(help="Pretrained encoder, as `ppi pretrain` leaves it.")] = None,
    transfer: Annotated[Transfer, typer.Option(help="Freeze it, adapt it (lora), or train it too.")] = Transfer.frozen,
    epochs: Annotated[int | None, typer.Option(help="Most epochs; default: what suits size and table.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs of an optimiser step; as epochs.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the one-cycle schedule.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the weights and the order.")] = 0,
    quiet: Quiet = False,
):
    """Train a classifier and evaluate it on held-out proteins."""
    from dataclasses import replace

    from ppi_lib.datasets import load_dataset, load_files
    from ppi_lib.embed import embed_proteins
    from ppi_lib.files import make_folder
    from ppi_lib.parallel import team
    from ppi_lib.train import suited

    if (dataset is None) == (pairs is None) or (dataset and (proteins or validation or test)):
        raise InputError("Give a FASTA file and a table of pairs, or --dataset; see `ppi train --help`.")
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    settings = {name: value for name, value in given.items() if value is not None}
    replace(suited(size.value, transfer.value), seed=seed, **settings)  # refuses a bad one before any work
    keep_given_files((proteins, pairs, validation, test), out / "data")
    wanted = None if encoder is None else _check_encoder(encoder, size)
    make_folder(out)
    quiet = quiet or not team().main
    place = store or out / "store"
    options = {"embedder": embedder, "wanted": wanted, "device": device, "progress": not quiet}
    with team().first():
        if dataset is not None:
            data = load_dataset(dataset, seed=seed)
        else:
            data = load_files(proteins, pairs, validation_path=validation, test_path=test, seed=seed)
        say_notes(data.notes)
        embedded = embed_proteins(data.proteins, place, **options)
    config = replace(suited(size.value, transfer.value, len(data.train)), seed=seed, **settings)
    _train(data, embedded, out, quiet, size=size.value, transfer=transfer.value, encoder=encoder, config=config)
    if team().main:
        evaluate_run(out, data, quiet, baselines=False, store=place)


def _check_encoder(path: Path, size: Size):
    """Raise `InputError` unless an encoder has the sizes of the preset; return the embeddings that it reads."""
    from dataclasses import replace

    from ppi_lib.checkpoint import read_encoder
    from ppi_lib.encoder import PRESETS

    encoder = read_encoder(path)
    encoder.adapt(replace(PRESETS[size.value], embedding_width=encoder.known["embedding_width"]))
    return encoder.embedding


def _train(data, store, out: Path, quiet: bool, **options) -> None:
    """Train, and keep beside the model the data that it was trained and is to be tested on."""
    from ppi_lib.datasets import save_dataset
    from ppi_lib.parallel import team
    from ppi_lib.progress import ProgressBar
    from ppi_lib.train import train_checkpoint

    bar = ProgressBar()
    about = {"dataset": data.name, "notes": data.notes}
    callbacks = () if quiet else (bar,)
    _, result = train_checkpoint(
        store,
        data.train,
        data.validation,
        out=out,
        provenance=about,
        callbacks=callbacks,
        progress=not quiet,
        **options,
    )
    bar.close()
    if not team().main:
        return
    save_dataset(data, out / "data")
    best = result.history.set_index("epoch").loc[result.best_epoch]
    typer.echo(
        f"Stopped by {result.stopped} after {len(result.history)} epochs; the best is epoch {result.best_epoch}, "
        f"validation AUROC {best['validation_auroc']:.3f}. Model in {out}."
    )
