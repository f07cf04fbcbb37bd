"""`ppi split`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import Fasta, app, keep_given_files, say_notes
from ppi_lib.errors import InputError


@app.command(
    epilog="Example: ppi split proteins.fasta pairs.tsv --out split/    then: ppi train split/proteins.fasta "
    "split/train.tsv --validation split/validation.tsv --test split/test.tsv --out run/"
)
def split(
    proteins: Fasta,
    pairs: Annotated[Path, typer.Argument(help="Pairs with labels, or positives alone with --negatives.")],
    out: Annotated[Path, typer.Option(help="Folder for sequences, a table for each split, and split.json.")],
    identity: Annotated[float, typer.Option(help="Proteins this alike stay together; 0: look at ids only.")] = 0.4,
    coverage: Annotated[float, typer.Option(help="Share of the shorter protein that must be aligned.")] = 0.5,
    negatives: Annotated[str | None, typer.Option(help="Draw them: uniform, degree or compartment.")] = None,
    ratio: Annotated[int, typer.Option(help="Negatives for each positive.")] = 1,
    compartments: Annotated[Path | None, typer.Option(help="Table of protein and place, a row for each place.")] = None,
    classes: Annotated[bool, typer.Option("--classes", help="Also tests of pairs seen in part: C1 and C2.")] = False,
    seed: Annotated[int, typer.Option(help="Of the split and the negatives.")] = 0,
):
    """Split pairs by protein, near relatives together, so that a test is of unseen proteins."""
    from ppi_lib.homology import cluster_proteins
    from ppi_lib.negatives import SCHEMES
    from ppi_lib.proteins import check_pairs, read_pairs, read_proteins

    if negatives is not None and (negatives not in SCHEMES or classes):
        raise InputError(
            f"--negatives is {negatives!r}{' with --classes' * classes}; expected one of {', '.join(SCHEMES)}, without "
            "--classes, whose tests are of labelled pairs only."
        )
    if negatives is None and ratio != 1:
        raise InputError(f"--ratio is {ratio}, and no negatives are drawn; expected --negatives with it.")
    if (negatives == "compartment") != (compartments is not None):
        raise InputError("--negatives compartment and --compartments FILE go together; expected both or neither.")
    keep_given_files((proteins, pairs, compartments), out)
    read = read_proteins(proteins)
    table = read_pairs(pairs, labels="required" if negatives is None else "optional")
    check_pairs(table, read, "given")
    places = None if compartments is None else _read_places(compartments)
    read = read.take(table.proteins)
    clusters = cluster_proteins(read.sequences, identity=identity, coverage=coverage) if identity else None
    parts, notes = _split(table, clusters, negatives, ratio, places, classes, seed)
    if clusters is not None:
        notes += (f"Neighbours: {identity:.0%} identity over {coverage:.0%} of the shorter protein, single linkage.",)
    _write(read, parts, notes, out)
    say_notes(notes)
    typer.echo(f"{', '.join(f'{name} {len(part):,}' for name, part in parts.items())} pairs in {out}.")


def _read_places(path: Path) -> dict[str, set[str]]:
    """Read a table of protein and compartment."""
    import csv

    import pandas as pd

    try:
        table = pd.read_csv(path, sep=None, engine="python", header=None, dtype=str, keep_default_na=False)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: can't be read as a table ({error}). Give two columns, protein and place.") from error
    if table.shape[1] != 2 or (table.isna() | (table == "")).any(axis=None):
        raise InputError(f"{path}: has {table.shape[1]} columns or empty cells; expected two, protein and place.")
    return table.groupby(0)[1].agg(set).to_dict()


def _split(table, clusters, scheme, ratio, places, classes, seed) -> tuple[dict, tuple[str, ...]]:
    """Return the pairs of each part by name, and what was done."""
    from ppi_lib.negatives import draw_negatives
    from ppi_lib.split import split_by_class, split_by_protein

    if classes:
        splits, tests = split_by_class(table, clusters=clusters, seed=seed)
        parts = {**splits._asdict(), "test_c1": tests.both, "test_c2": tests.one}
        return parts, splits.train.notes
    if scheme is None:
        splits = split_by_protein(table, clusters=clusters, seed=seed)
        return splits._asdict(), splits.train.notes
    positives = table if table.labels is None else table.take(table.labels == 1)
    if not len(positives):
        raise InputError(
            f"None of the {len(table):,} pairs is labelled 1; expected the positives to draw negatives for."
        )
    splits = split_by_protein(positives, clusters=clusters, seed=seed)
    parts = {
        name: draw_negatives(part, scheme=scheme, ratio=ratio, compartments=places, seed=seed)
        for name, part in splits._asdict().items()
    }
    dropped = len(table) - len(positives)
    left_out = (f"{dropped:,} pairs labelled 0 left out, since negatives are drawn.",) if dropped else ()
    return parts, (*left_out, *splits.train.notes, *(f"{name}: {part.notes[-1]}" for name, part in parts.items()))


def _write(proteins, parts: dict, notes: tuple[str, ...], out: Path) -> None:
    import json

    from ppi_lib.files import make_folder, write_atomically
    from ppi_lib.proteins import write_fasta, write_pairs

    folder = make_folder(out)
    write_fasta(proteins, folder / "proteins.fasta")
    for name, part in parts.items():
        write_pairs(part, folder / f"{name}.tsv")
    about = json.dumps({"pairs": {name: len(part) for name, part in parts.items()}, "notes": notes}, indent=2)
    write_atomically(folder / "split.json", lambda path: path.write_text(about))
