"""`ppi embed`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Device, EmbedderName, Fasta, Quiet, app, say_notes


@app.command(epilog="Example: ppi embed proteins.fasta --out store/    or, in place of profile: --embedder esmc_300m")
def embed(
    proteins: Fasta,
    out: Annotated[Path, typer.Option(help="Folder of the patch store; an unfinished one is gone on with.")],
    embedder: EmbedderName = None,
    device: Device = "auto",
    precision: Annotated[
        str | None, typer.Option(help="Of a language model: float32, or bfloat16, which moves numbers by hundredths.")
    ] = None,
    quiet: Quiet = False,
):
    """Embed proteins into a patch store."""
    from ppi_lib.embed import embed_proteins
    from ppi_lib.proteins import read_proteins

    read = read_proteins(proteins)
    say_notes(read.notes)
    store = embed_proteins(read, out, embedder=embedder, device=device, precision=precision, progress=not quiet)
    typer.echo(f"{len(store):,} proteins in {out} by {store.info}, fingerprint {store.fingerprint(store.ids)}.")
