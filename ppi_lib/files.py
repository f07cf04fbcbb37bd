"""How files are written, whole or not at all, and folders made."""

import os
import time
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path

from safetensors import SafetensorError

from ppi_lib.errors import InputError

_ABANDONED = 3600
"""Seconds without a change after which a writer of a temporary file is taken for dead."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then put it in its place: `path` is the old file or the whole new one.

    Of two that write at once the later one stays. What a writer that was killed left is removed after an hour.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        _sweep(path.parent)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: could not be written ({error}). The last whole file is kept.") from error


@cache
def _sweep(folder: Path) -> None:
    """Remove what writers that were killed left, once in a process."""
    for left in folder.glob("*.????????.tmp"):
        if time.time() - left.stat().st_mtime > _ABANDONED:
            left.unlink(missing_ok=True)


def make_folder(path: str | Path) -> Path:
    """Make a folder if it isn't there, or say why that can't be."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: can't be made ({error}). Choose a folder that you may write to.") from error
    return path
