"""How files are written, whole or not at all, and folders made."""

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


def make_folder(path: str | Path) -> Path:
    """Make a folder if it isn't there, or say why that can't be."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: can't be made ({error}). Choose a folder that you may write to.") from error
    return path
