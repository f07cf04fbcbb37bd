"""`ppi pretrain`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Device, EmbedderName, Quiet, Size, Store, app, say_notes
from ppi_lib.errors import InputError


@app.command(epilog="Example: ppi pretrain proteins.fasta --out mae/    or: ppi pretrain --dataset bernett --out mae/")
def pretrain(
    proteins: Annotated[Path | None, typer.Argument(help="Sequences; a tenth of them is held out to validate.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the encoder; a run that was cut off is gone on with.")] = Path(
        "mae"
    ),
    dataset: Annotated[str | None, typer.Option(help="In place of a file: its training proteins, no label.")] = None,
    size: Annotated[Size, typer.Option(help="Preset of the model.")] = Size.v5,
    store: Store = None,
    embedder: EmbedderName = None,
    device: Device = "auto",
    epochs: Annotated[int | None, typer.Option(help="Most epochs; default: what suits the size.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Proteins of an optimiser step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the schedule.")] = None,
    mask_ratio: Annotated[float | None, typer.Option(help="Share of a protein's patches that are hidden.")] = None,
    visible_weight: Annotated[float | None, typer.Option(help="How much rebuilding the others counts.")] = None,
    summary_weight: Annotated[
        float | None, typer.Option(help="How much what the mean token tells of all patches counts.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory for more time.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the weights, the masks, the order and the held-out proteins.")] = 0,
    quiet: Quiet = False,
):
    """Pretrain the encoder on proteins, without labels, as a masked autoencoder."""
    from dataclasses import replace

    from ppi_lib.datasets import load_dataset
    from ppi_lib.embed import embed_proteins
    from ppi_lib.files import make_folder
    from ppi_lib.parallel import team
    from ppi_lib.pretrain import SETTINGS
    from ppi_lib.proteins import read_proteins

    if (dataset is None) == (proteins is None):
        raise InputError("Give a FASTA file or --dataset, one of them; see `ppi pretrain --help`.")
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    given |= {"mask_ratio": mask_ratio, "visible_weight": visible_weight, "summary_weight": summary_weight}
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
    say_notes(notes)
    needed, place = read.take([*train, *(held_out or ())]), store or out / "store"
    quiet = quiet or not team().main
    with team().first():
        embedded = embed_proteins(needed, place, embedder=embedder, device=device, progress=not quiet)
    _pretrain(embedded, train, held_out, out, size.value, config, dataset, quiet)


def _pretrain(store, train, held_out, out: Path, size: str, config, dataset: str | None, quiet: bool) -> None:
    """Pretrain, and print how well hidden patches are rebuilt."""
    from ppi_lib.parallel import team
    from ppi_lib.pretrain import pretrain_checkpoint
    from ppi_lib.profile import GROUPS
    from ppi_lib.progress import ProgressBar

    bar = ProgressBar()
    callbacks = () if quiet else (bar,)
    about = {} if dataset is None else {"dataset": dataset}
    result = pretrain_checkpoint(
        store,
        train,
        held_out,
        size=size,
        config=config,
        groups=GROUPS if store.info.embedder == "profile" else None,
        out=out,
        provenance=about,
        callbacks=callbacks,
    )
    bar.close()
    if not team().main:
        return
    say_notes(result.notes)
    errors = result.reconstruction.to_string(index=False, float_format=lambda value: f"{value:.3f}")
    typer.echo(f"Mean squared errors on held-out proteins, in deviations of each channel:\n{errors}")
    typer.echo("A group of weight 0 is not learned, since it is the same in every patch of a protein.")
    typer.echo(
        f"Stopped by {result.stopped} after {len(result.history)} epochs; the best is epoch {result.best_epoch}. "
        f"Encoder in {out}."
    )
