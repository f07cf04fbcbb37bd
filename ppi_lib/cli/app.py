"""What the verbs share: the app that they register with, their common options, and how notes are said."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

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
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def say_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
