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
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def say_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
