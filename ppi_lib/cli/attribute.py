"""`ppi attribute`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import EmbedderName, Fasta, Quiet, Store, app, say_notes


class Method(StrEnum):
    attention = "attention"
    gradient_weights = "gradient_weights"
    integrated_weights = "integrated_weights"
    integrated_tokens = "integrated_tokens"
    ablated_tokens = "ablated_tokens"
    shapley_tokens = "shapley_tokens"
    integrated_patches = "integrated_patches"
    ablated_patches = "ablated_patches"
    shapley_patches = "shapley_patches"


@app.command(epilog="Example: ppi attribute run/ proteins.fasta P12345 Q67890 --out explained/")
def attribute(
    run: Annotated[Path, typer.Argument(help="Folder of a run that `ppi train` made.")],
    proteins: Fasta,
    protein_a: Annotated[str, typer.Argument(help="First protein of the pair.")],
    protein_b: Annotated[str, typer.Argument(help="Second protein of the pair.")],
    out: Annotated[Path, typer.Option(help="Folder for tables and figures.")] = Path("explained"),
    method: Annotated[Method, typer.Option(help="How patches are scored.")] = Method.shapley_tokens,
    steps: Annotated[int, typer.Option(help="Steps of an integral.")] = 64,
    samples: Annotated[int, typer.Option(help="Orders that a Shapley value is the mean of.")] = 25,
    seed: Annotated[int, typer.Option(help="Of the sampled orders.")] = 0,
    structure: Annotated[Path | None, typer.Option(help="PDB or mmCIF file of the complex, to hold scores to.")] = None,
    chains: Annotated[tuple[str, str], typer.Option(help="Chains of both proteins in --structure.")] = ("A", "B"),
    store: Store = None,
    embedder: EmbedderName = None,
    quiet: Quiet = False,
):
    """Show which patches and attention weights carry the logit of a pair: tables and figures."""
    import tempfile

    from ppi_lib.attribute import attribute_patches, attribute_weights
    from ppi_lib.attribution import AttributionConfig
    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.embed import embed_proteins
    from ppi_lib.errors import InputError
    from ppi_lib.files import make_folder
    from ppi_lib.proteins import read_proteins
    from ppi_lib.structure import read_interface

    config = AttributionConfig(steps=steps, samples=samples, seed=seed)
    checkpoint = load_checkpoint(run)
    read, pair = read_proteins(proteins), (protein_a, protein_b)
    missing = [protein for protein in pair if protein not in read.sequences]
    if missing:
        raise InputError(f"{proteins}: has no protein {missing[0]}. Check the id, or give the file that has it.")
    read = read.take(sorted(set(pair)))
    say_notes(read.notes)
    interface = None if structure is None else read_interface(structure, *chains, pair, dict(read.sequences))
    make_folder(out)
    with tempfile.TemporaryDirectory() as folder:
        options = {"embedder": embedder, "wanted": checkpoint.embedding, "progress": not quiet}
        embedded = embed_proteins(read, store or folder, **options)
        patches = attribute_patches(checkpoint.model, embedded, pair, method.value, config=config)
        weights = attribute_weights(checkpoint.model, embedded, pair, config=config)
    _write(patches, weights, read.sequences, checkpoint.calibration, out)
    if interface is not None:
        _hold_to(interface, patches, out)


def _hold_to(interface, patches, out: Path) -> None:
    """Leave how the patches meet the interface in `out`, and say it."""
    from ppi_lib.truth import find_interfaces

    where = patches.coordinates
    pair = where.protein_a, where.protein_b
    residues = interface.residues_a, interface.residues_b
    row = find_interfaces([patches], {pair: residues})
    path = out / "interface.csv"
    row.to_csv(path, index=False)
    found = row.iloc[0]
    typer.echo(
        f"Interface: {len(residues[0])} and {len(residues[1])} residues. AUROC of the patches {found['auroc']:.2f} "
        f"(interface turned along the sequence {found['auroc_null']:.2f}), enrichment {found['enrichment']:.2f} "
        f"({found['enrichment_null']:.2f}). Written: {path}."
    )


def _write(patches, weights, sequences, calibration, out: Path) -> None:
    """Leave tables and figures in `out`, and say what stands out."""
    from ppi_lib.figures import plot_tracks, plot_weight_attribution, save_figure

    table = patches.table()
    unit = "attention (mean weight)" if patches.method == "attention" else "score (logits)"
    paths = save_figure(plot_tracks(table, sequences, unit=unit), out / "patches", data=table)
    paths += save_figure(plot_weight_attribution(weights.table()), out / "weights", data=weights.table())
    best = table.loc[table["score"].idxmax()]
    probability = calibration.probabilities([patches.logit])[0]
    typer.echo(
        f"Logit {patches.logit:.3f}, probability {probability:.3f}. The highest score, {best['score']:.3f}, is that of "
        f"residues {best['first_residue']} to {best['last_residue']} of {best['protein']}."
    )
    typer.echo(f"Attention weights sum to {weights.error:+.1e} logits of what they should.")
    typer.echo(f"Written: {', '.join(str(path) for path in paths)}.")
