"""`ppi import`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Quiet, app, say_notes
from ppi_lib.errors import InputError


@app.command("import", epilog="Example: ppi import embeddings.h5 proteins.fasta --name prot_t5 --out store/")
def import_(
    file: Annotated[Path, typer.Argument(help="Residue embeddings: .h5, .npz, .safetensors; or a pickle (.pkl).")],
    out: Annotated[Path, typer.Option(help="Folder of the patch store; for pairs, the table to write.")],
    proteins: Annotated[
        Path | None, typer.Argument(help="The sequences of the proteins to import; without, a pickled table of pairs.")
    ] = None,
    name: Annotated[str, typer.Option(help="What made the embeddings.")] = "imported",
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Open a pickle, which can run any code.")
    ] = False,
    quiet: Quiet = False,
):
    """Import residue embeddings that others made into a patch store."""
    from ppi_lib.import_embeddings import import_embeddings, import_pairs, is_pickle
    from ppi_lib.proteins import read_proteins

    if proteins is not None:
        read = read_proteins(proteins)
        say_notes(read.notes)
        store = import_embeddings(file, read, out, name=name, trust_pickle=trust_pickle, progress=not quiet)
        typer.echo(f"{len(store):,} proteins in {out} by {store.info}. Train with --store {out}.")
    elif is_pickle(file):
        typer.echo(f"{import_pairs(file, out, trust_pickle=trust_pickle):,} pairs in {out}.")
    else:
        raise InputError(f"{file}: give the sequences too (FASTA): they say which rows of an array are residues.")
