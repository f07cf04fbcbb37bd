"""`ppi embed`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Fasta, Quiet, app, say_notes


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
    say_notes(read.notes)
    store = embed_proteins(read, out, embedder=embedder, progress=not quiet)
    fingerprint = store.fingerprint(store.ids)
    typer.echo(f"{len(store):,} proteins in {out}, {store.info.width} wide, fingerprint {fingerprint}.")
