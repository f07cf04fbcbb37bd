"""What the verbs share: the app that they register with, their common options, and what several of them say."""

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
EmbedderName = Annotated[
    str | None,
    typer.Option(
        "--embedder",
        help="profile, esmc_300m, esmc_600m, esm2_650m, a language model's folder or its owner/name on the Hub; "
        "default: that of the store or the model, else profile.",
    ),
]
Store = Annotated[
    Path | None, typer.Option(help="Folder of embeddings, made by `ppi embed` or `ppi import`; what it lacks is added.")
]
Device = Annotated[str, typer.Option(help="Of a language model: auto, cpu or cuda.")]
Prevalence = Annotated[
    float | None, typer.Option(help="Share of positives among your pairs, such as 0.001; default: as in validation.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def say_notes(notes: tuple[str, ...]) -> None:
    from ppi_lib.parallel import team

    for note in notes if team().main else ():
        typer.echo(f"note: {note}", err=True)


def keep_given_files(files: Iterable[Path | None], folder: Path) -> None:
    """Raise `InputError` if a given file lies in the folder that a verb writes its own tables to."""
    inside = [file for file in files if file is not None and file.resolve().parent == folder.resolve()]
    if inside:
        raise InputError(f"{inside[0]}: lies where the command would write its copy of the data. Choose another --out.")


def say_calibration(calibration, prevalence: float | None) -> str:
    """Say what the probabilities mean."""
    if calibration.method == "none":
        return "Probabilities are the model's own, not calibrated."
    share = calibration.prevalence if prevalence is None else prevalence
    return f"Probabilities are calibrated ({calibration.method}) for {share:.3g} of the pairs being positive."
