"""How a file is written: whole, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from ppi_lib.errors import InputError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then put it in its place: `path` is the old file or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: could not be written ({error}). The last whole file is kept.") from error
