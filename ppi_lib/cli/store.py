"""`ppi store`: describe, check and merge stores."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import app
from ppi_lib.errors import InputError

store_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Describe, check and merge patch stores.")
app.add_typer(store_app, name="store", epilog="Example: ppi store check store/")
Folder = Annotated[Path, typer.Argument(help="Folder of a patch store.")]


@store_app.command(epilog="Example: ppi store info store/")
def info(folder: Folder):
    """Say what a store holds and what made it."""
    from ppi_lib.inventory import describe_store

    found = describe_store(folder)
    rows = {
        "embedder": found.info,
        "made by": f"ppi_lib {found.made_by}",
        "proteins": f"{found.proteins:,} of {found.residues:,} residues in {found.patches:,} patches",
        "on disk": f"{found.bytes / 1e6:,.1f} MB in {found.shards} shards; residue embeddings, float32: "
        f"{found.residue_bytes / 1e6:,.1f} MB",
        "standardisation": "none in the store: a model standardises, by its training proteins",
        "numbers": f"mean {found.mean:.3g}, deviation {found.deviation:.3g} (root mean square over the channels)",
        "fingerprint": found.fingerprint,
    }
    for name, value in rows.items():
        typer.echo(f"{name:16} {value}")


@store_app.command(epilog="Example: ppi store check store/")
def check(folder: Folder):
    """Read every byte of a store and say what is missing or was changed; status 2 if anything is."""
    from ppi_lib.inventory import check_store
    from ppi_lib.store import PatchStore

    problems = check_store(folder)
    if problems:
        raise InputError(
            f"{folder}: {'; '.join(problems)}. Delete the .npy and .json of each shard named and embed or import "
            "again: only their proteins are made anew."
        )
    typer.echo(f"{folder}: whole, {len(PatchStore(folder)):,} proteins.")


@store_app.command(epilog="Example: ppi store merge yeast/ human/ --out both/")
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of patch stores of one embedder.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged store.")],
):
    """Merge stores of one embedder."""
    from ppi_lib.inventory import merge_stores
    from ppi_lib.store import PatchStore

    merged = merge_stores([PatchStore(folder) for folder in folders], out)
    typer.echo(f"{len(merged):,} proteins in {out}, fingerprint {merged.fingerprint(merged.ids)}.")
