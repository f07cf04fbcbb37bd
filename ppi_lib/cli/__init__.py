"""`ppi`: the verbs for a terminal, one a file. Bad input is one line on stderr and status 2."""

import sys

from ppi_lib.cli import (  # noqa: F401  (each registers its verb)
    attribute,
    audit,
    embed,
    evaluate,
    imports,
    predict,
    pretrain,
    report,
    run,
    screen,
    split,
    store,
    train,
)
from ppi_lib.cli.app import app
from ppi_lib.errors import InputError


def main() -> None:
    try:
        app()
    except InputError as error:
        print(f"ppi: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("ppi: interrupted. The same command goes on where it was.", file=sys.stderr)
        sys.exit(130)
