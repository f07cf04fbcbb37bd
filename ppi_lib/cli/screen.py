"""`ppi screen`."""

from pathlib import Path
from typing import Annotated

import typer

from ppi_lib.cli.app import EmbedderName, Fasta, Prevalence, Quiet, Store, app, say_calibration, say_notes


@app.command(epilog="Example: ppi screen run/ proteins.fasta --top-k 50 --out screen.parquet")
def screen(
    run: Annotated[Path, typer.Argument(help="Folder of a run that `ppi train` made.")],
    proteins: Fasta,
    against: Annotated[
        Path | None, typer.Option(help="FASTA of a second set; without it PROTEINS among themselves.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Parquet file to write; a stopped screening goes on.")] = Path(
        "screen.parquet"
    ),
    top_k: Annotated[int | None, typer.Option(help="Keep the best partners of each protein of PROTEINS.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Keep pairs of at least this probability.")] = None,
    prevalence: Prevalence = None,
    self_pairs: Annotated[bool, typer.Option("--self-pairs", help="Pair each protein with itself too.")] = False,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, or auto: what this machine does best.")] = "auto",
    workers: Annotated[int, typer.Option(help="Dask processes on this machine; 0: none.")] = 0,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://...")] = None,
    store: Store = None,
    embedder: EmbedderName = None,
    quiet: Quiet = False,
):
    """Score all pairs of a set of proteins, or of two sets; without --store the embeddings lie beside OUT."""
    import torch

    from ppi_lib.checkpoint import load_checkpoint
    from ppi_lib.embed import embed_proteins
    from ppi_lib.proteins import read_proteins
    from ppi_lib.screen import check_means, check_out, check_request, screen

    check_out(out)
    check_means(precision, workers)
    checkpoint = load_checkpoint(run, device="cuda" if torch.cuda.is_available() else "cpu")
    read = [read_proteins(path) for path in (proteins, against) if path is not None]
    sets = [tuple(each.sequences) for each in read]
    wanted = {"top_k": top_k, "threshold": threshold, "self_pairs": self_pairs}
    wanted |= {"calibration": checkpoint.calibration, "prevalence": prevalence}
    check_request(*sets, **wanted)
    if scheduler is not None:
        from ppi_lib.cluster import require_worker

        require_worker(scheduler)
    folder = store or out.with_name(out.name + ".store")
    for each in read:
        say_notes(each.notes)
        embedded = embed_proteins(each, folder, embedder=embedder, wanted=checkpoint.embedding, progress=not quiet)
    result = screen(
        checkpoint.model,
        embedded,
        *sets,
        out=out,
        **wanted,
        precision=precision,
        workers=workers,
        scheduler=scheduler,
        progress=not quiet,
    )
    of, by = result.provenance["of"], result.provenance["by"]
    typer.echo(
        f"{result.pairs:,} pairs screened ({of['precision']} on {by['device']}, {result.seconds:,.0f} s); "
        f"{result.kept:,} kept in {out}. {say_calibration(checkpoint.calibration, prevalence)}"
    )
