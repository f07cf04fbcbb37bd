"""`ppi audit`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import app, say_notes
from ppi_lib.errors import InputError


@app.command(
    epilog="Example: ppi audit proteins.fasta train.tsv --validation validation.tsv --test test.tsv    "
    "or: ppi audit --dataset b4ppi_yeast"
)
def audit(
    proteins: Annotated[Path | None, typer.Argument(help="Sequences: FASTA or a two-column table.")] = None,
    pairs: Annotated[Path | None, typer.Argument(help="Labelled training pairs, or all, with a split column.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="In place of files: demo, bernett, b4ppi_yeast or b4ppi_human.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="Validation pairs.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test pairs.")] = None,
    identity: Annotated[float, typer.Option(help="Share of identical residues from which proteins are near.")] = 0.4,
    coverage: Annotated[float, typer.Option(help="Share of the shorter protein that must be aligned.")] = 0.5,
    sample: Annotated[int, typer.Option(help="Most proteins of a split to search neighbours for; 0: none.")] = 8000,
    seed: Annotated[int, typer.Option(help="Of the sample, and of the split of a single table.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables that the verdicts rest on.")] = None,
):
    """Look for leaks between splits, and for labels that can be guessed without biology."""
    from ppi_lib.audit import audit as run_audit
    from ppi_lib.datasets import load_dataset, load_files
    from ppi_lib.files import make_folder

    if (dataset is None) == (pairs is None) or (dataset and (proteins or validation or test)):
        raise InputError("Give a FASTA file and a table of pairs, or --dataset; see `ppi audit --help`.")
    folder = None if out is None else make_folder(out)
    if dataset is not None:
        data = load_dataset(dataset, seed=seed)
    else:
        data = load_files(proteins, pairs, validation_path=validation, test_path=test, seed=seed)
    say_notes(data.notes)
    splits = (data.train, data.validation, data.test)
    found = run_audit(*splits, data.proteins, identity=identity, coverage=coverage, sample=sample, seed=seed)
    typer.echo(found.format())
    if folder is not None:
        write_tables(found, folder)
        typer.echo(f"Tables: {folder}")


def write_tables(found, folder: Path) -> None:
    """Write the findings and each table they rest on."""
    import pandas as pd

    from ppi_lib.files import write_atomically

    for name, table in {"findings": pd.DataFrame(found.findings), **found.tables}.items():
        write_atomically(folder / f"{name}.tsv", lambda path, table=table: table.to_csv(path, sep="\t", index=False))
