"""`ppi`: the verbs for a terminal. Bad input is one line on stderr and status 2."""

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Predict from sequence whether two proteins interact.",
)


class Size(StrEnum):
    v5 = "v5"
    v3 = "v3"


class Transfer(StrEnum):
    frozen = "frozen"
    lora = "lora"
    full = "full"


Fasta = Annotated[Path, typer.Argument(help="Sequences: FASTA (gzip too) or a two-column table.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def _say_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)


@app.command(epilog="Example: ppi embed proteins.fasta --out store/")
def embed(
    proteins: Fasta,
    out: Annotated[Path, typer.Option(help="Folder of the patch store; an unfinished one is gone on with.")],
    embedder: Annotated[str, typer.Option(help="Embedder to use.")] = "profile",
    quiet: Quiet = False,
):
    """Embed proteins into a patch store."""
    from ppi_lib.embed import embed_proteins
    from ppi_lib.proteins import read_proteins

    read = read_proteins(proteins)
    _say_notes(read.notes)
    store = embed_proteins(read, out, embedder=embedder, progress=not quiet)
    fingerprint = store.fingerprint(store.ids)
    typer.echo(f"{len(store):,} proteins in {out}, {store.info.width} wide, fingerprint {fingerprint}.")


@app.command(
    epilog="Example: ppi train proteins.fasta pairs.tsv --out run/    or: ppi train --dataset demo --size v3 --out run/"
)
def train(
    proteins: Annotated[Path | None, typer.Argument(help="Sequences: FASTA or a two-column table.")] = None,
    pairs: Annotated[Path | None, typer.Argument(help="Labelled pairs; split by protein unless told how.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that was cut off is gone on with.")] = Path("run"),
    dataset: Annotated[str | None, typer.Option(help="In place of files: demo, bernett or b4ppi_yeast.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Validation pairs.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test pairs.")] = None,
    size: Annotated[Size, typer.Option(help="Preset of the model.")] = Size.v5,
    encoder: Annotated[Path | None, typer.Option(help="Pretrained encoder, as `ppi pretrain` leaves it.")] = None,
    transfer: Annotated[Transfer, typer.Option(help="Freeze it, adapt it (lora), or train it too.")] = Transfer.frozen,
    epochs: Annotated[int | None, typer.Option(help="Most epochs; default: what suits the size.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs of an optimiser step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the one-cycle schedule.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the weights and the order.")] = 0,
    quiet: Quiet = False,
):
    """Train a classifier and evaluate it on held-out proteins."""
    from dataclasses import replace

    from ppi_lib.checkpoint import read_encoder
    from ppi_lib.datasets import load_dataset, load_files
    from ppi_lib.encoder import PRESETS
    from ppi_lib.files import make_folder
    from ppi_lib.train import suited

    if (dataset is None) == (pairs is None) or (dataset and (validation or test)):
        raise InputError("Give a FASTA file and a table of pairs, or --dataset; see `ppi train --help`.")
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    settings = {name: value for name, value in given.items() if value is not None}
    config = replace(suited(size.value, transfer.value), seed=seed, **settings)
    _keep_given_files((proteins, pairs, validation, test), out / "data")
    if encoder is not None:
        read_encoder(encoder).adapt(PRESETS[size.value])
    make_folder(out)
    if dataset is not None:
        data = load_dataset(dataset, seed=seed)
    else:
        data = load_files(proteins, pairs, validation_path=validation, test_path=test, seed=seed)
    _say_notes(data.notes)
    _train(data, out, quiet, size=size.value, transfer=transfer.value, encoder=encoder, config=config)
    _evaluate(out, data, quiet, baselines=False)


def _keep_given_files(files: Iterable[Path | None], folder: Path) -> None:
    """Raise `InputError` if a given file lies in the folder that the run writes its copy of the data to."""
    inside = [file for file in files if file is not None and file.resolve().parent == folder.resolve()]
    if inside:
        raise InputError(f"{inside[0]}: lies where the run would write its copy of the data. Choose another --out.")


def _train(data, out: Path, quiet: bool, **options) -> None:
    """Embed, train, and keep beside the model the data that it was trained and is to be tested on."""
    from ppi_lib.datasets import save_dataset
    from ppi_lib.embed import embed_proteins
    from ppi_lib.progress import ProgressBar
    from ppi_lib.train import train_checkpoint

    store = embed_proteins(data.proteins, out / "store", progress=not quiet)
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
    save_dataset(data, out / "data")
    best = result.history.set_index("epoch").loc[result.best_epoch]
    typer.echo(
        f"Stopped by {result.stopped} after {len(result.history)} epochs; the best is epoch {result.best_epoch}, "
        f"validation AUROC {best['validation_auroc']:.3f}. Model in {out}."
    )


def _evaluate(run: Path, data, quiet: bool, baselines: bool) -> None:
    """Score validation and test pairs, write the table and the scores, and print the table."""
    from ppi_lib.baselines import run_baselines
    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.embed import embed_proteins
    from ppi_lib.files import write_atomically
    from ppi_lib.predict import predict_pairs
    from ppi_lib.report import Scored, evaluate_scored, format_table

    checkpoint = load_checkpoint(run)
    store = embed_proteins(data.proteins, run / "store", embedder=checkpoint.embedding.embedder, progress=not quiet)
    checkpoint.require_store(store)
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


@app.command(epilog="Example: ppi pretrain proteins.fasta --out mae/    or: ppi pretrain --dataset bernett --out mae/")
def pretrain(
    proteins: Annotated[Path | None, typer.Argument(help="Sequences; a tenth of them is held out to validate.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the encoder; a run that was cut off is gone on with.")] = Path(
        "mae"
    ),
    dataset: Annotated[str | None, typer.Option(help="In place of a file: its training proteins, no label.")] = None,
    size: Annotated[Size, typer.Option(help="Preset of the model.")] = Size.v5,
    epochs: Annotated[int | None, typer.Option(help="Most epochs; default: what suits the size.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Proteins of an optimiser step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the schedule.")] = None,
    mask_ratio: Annotated[float | None, typer.Option(help="Share of a protein's patches that are hidden.")] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory for more time.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the weights, the masks, the order and the held-out proteins.")] = 0,
    quiet: Quiet = False,
):
    """Pretrain the encoder on proteins, without labels, as a masked autoencoder."""
    from dataclasses import replace

    from ppi_lib.datasets import load_dataset
    from ppi_lib.files import make_folder
    from ppi_lib.pretrain import SETTINGS
    from ppi_lib.proteins import read_proteins

    if (dataset is None) == (proteins is None):
        raise InputError("Give a FASTA file or --dataset, one of them; see `ppi pretrain --help`.")
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "mask_ratio": mask_ratio}
    settings = {name: value for name, value in given.items() if value is not None}
    config = replace(SETTINGS[size.value], seed=seed, gradient_checkpointing=gradient_checkpointing, **settings)
    make_folder(out)
    if dataset is None:
        read = read_proteins(proteins)
        train, held_out, notes = list(read.sequences), None, read.notes
    else:
        data = load_dataset(dataset, seed=seed)
        read, train, notes = data.proteins, data.train.proteins, data.notes
        held_out = sorted(set(data.validation.proteins) - set(train)) or None
    _say_notes(notes)
    _pretrain(read.take([*train, *(held_out or ())]), train, held_out, out, size.value, config, dataset, quiet)


def _pretrain(read, train, held_out, out: Path, size: str, config, dataset: str | None, quiet: bool) -> None:
    """Embed, pretrain, and print how well hidden patches are rebuilt."""
    from ppi_lib.embed import embed_proteins
    from ppi_lib.pretrain import pretrain_checkpoint
    from ppi_lib.profile import GROUPS
    from ppi_lib.progress import ProgressBar

    store, bar = embed_proteins(read, out / "store", progress=not quiet), ProgressBar()
    # the bar would show an AUROC of the history, and here is none
    callbacks = () if quiet else (lambda progress: bar(progress._replace(history=())),)
    about = {} if dataset is None else {"dataset": dataset}
    result = pretrain_checkpoint(
        store,
        train,
        held_out,
        size=size,
        config=config,
        groups=GROUPS,
        out=out,
        provenance=about,
        callbacks=callbacks,
    )
    bar.close()
    _say_notes(result.notes)
    errors = result.reconstruction.to_string(index=False, float_format=lambda value: f"{value:.3f}")
    typer.echo(f"Mean squared errors on held-out proteins, in deviations of each channel:\n{errors}")
    typer.echo("A group of weight 0 is not learned, since it is the same in every patch of a protein.")
    typer.echo(
        f"Stopped by {result.stopped} after {len(result.history)} epochs; the best is epoch {result.best_epoch}. "
        f"Encoder in {out}."
    )


@app.command(epilog="Example: ppi evaluate run/ --baselines")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run that `ppi train` made.")],
    baselines: Annotated[bool, typer.Option("--baselines", help="Fit the baselines on the same pairs too.")] = False,
    quiet: Quiet = False,
):
    """Evaluate a run on its test pairs: metrics with protein-level intervals."""
    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.datasets import load_saved

    load_checkpoint(run)
    data = load_saved(run / "data")
    _say_notes(data.notes)
    _evaluate(run, data, quiet, baselines)


@app.command(epilog="Example: ppi predict run/ proteins.fasta new_pairs.tsv --out scores.parquet")
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run that `ppi train` made.")],
    proteins: Fasta,
    pairs: Annotated[Path, typer.Argument(help="Pairs to score; labels are not needed.")],
    out: Annotated[Path, typer.Option(help="Table to write: .parquet, .tsv or .csv.")] = Path("scores.parquet"),
    store: Annotated[Path | None, typer.Option(help="Folder that keeps the embeddings for a next time.")] = None,
    quiet: Quiet = False,
):
    """Score new pairs with a trained model."""
    import tempfile

    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.embed import check_embedder, embed_proteins
    from ppi_lib.predict import check_target, predict_pairs, write_predictions
    from ppi_lib.proteins import check_pairs, read_pairs, read_proteins

    check_target(out)
    if out.resolve() in (proteins.resolve(), pairs.resolve()):
        raise InputError(f"{out}: is one of the files that are read. Choose another --out.")
    checkpoint = load_checkpoint(run)
    check_embedder(checkpoint.embedding)
    read, table = read_proteins(proteins), read_pairs(pairs, labels="ignored")
    check_pairs(table, read, str(pairs))
    _say_notes((*read.notes, *table.notes))
    with tempfile.TemporaryDirectory() as folder:
        needed = read.take(table.proteins)
        embedded = embed_proteins(needed, store or folder, embedder=checkpoint.embedding.embedder, progress=not quiet)
        prediction = predict_pairs(checkpoint.model, embedded, table, progress=not quiet)
    write_predictions(table, prediction, checkpoint.threshold, out)
    called = int((prediction.probabilities >= checkpoint.threshold).sum())
    typer.echo(f"{len(table):,} pairs in {out}; {called:,} at or above the threshold {checkpoint.threshold:.3f}.")


@app.command(epilog="Example: ppi run --dataset demo")
def run(
    dataset: Annotated[str, typer.Option(help="demo, bernett or b4ppi_yeast.")] = "demo",
    size: Annotated[Size | None, typer.Option(help="Preset; default: v3 for demo, else v5.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all results; default: runs/<dataset>.")] = None,
    notebooks: Annotated[Path, typer.Option(help="Folder of the notebooks.")] = Path("notebooks"),
):
    """Execute the notebooks in order on a dataset; leaves copies with outputs, HTML and figures."""
    from ppi_lib.notebooks import run_notebooks

    chosen = size.value if size else ("v3" if dataset == "demo" else "v5")
    folder = (out or Path("runs") / dataset).resolve()
    run_notebooks(notebooks, folder, {"dataset": dataset, "size": chosen, "out": str(folder)}, say=typer.echo)


def main() -> None:
    try:
        app()
    except InputError as error:
        print(f"ppi: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("ppi: interrupted. The same command goes on where it was.", file=sys.stderr)
        sys.exit(130)
