"""A shard of a patch store as it lies on disk: an array of patches, and its index.

`shard-00000.npy` holds the patches of some proteins, one after another, as float16. `shard-00000.json` holds their
ids and lengths, digests of their sequences and of their numbers (`contents`, checked at every read), and a digest of
all that, so that a change of one byte anywhere is found. The array is put in its place first and the index last: a
shard with an index is whole.

Shape letters: P patches, E embedding width.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float16

from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically

SHARD_PATCHES = 4096
"""A shard is closed by the protein that makes it this large: about 220 proteins of human lengths, 8 MB at width 960."""
_HEADER = 128  # bytes in front of the numbers of such an array


class ShardIndex(NamedTuple):
    ids: list[str]
    lengths: list[int]
    """Residues of each protein that were embedded."""
    sequences: list[str]
    """Digest of each protein's sequence."""
    contents: list[str]
    """Digest of each protein's patches."""


def digest(content: Any) -> str:
    """Hash bytes, or an array's numbers."""
    return hashlib.sha256(np.ascontiguousarray(content) if isinstance(content, np.ndarray) else content).hexdigest()[
        :16
    ]


def _header(patches: int, width: int) -> bytes:
    """Return what an `.npy` file of such an array begins with."""
    buffer = io.BytesIO()
    about = {"descr": "<f2", "fortran_order": False, "shape": (int(patches), int(width))}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


def _index_digest(entry: dict[str, Any]) -> str:
    return digest(json.dumps([entry[name] for name in ShardIndex._fields]).encode())


def read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}). Delete it and embed the proteins again.") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, lambda target: target.write_text(json.dumps(content)))


def index_paths(folder: Path) -> dict[int, Path]:
    """Return the index of each whole shard in `folder` by its number, in order."""
    found = {path.stem.removeprefix("shard-"): path for path in sorted(folder.glob("shard-*.json"))}
    return {int(number): path for number, path in found.items() if number.isdigit()}


def write_shard(folder: Path, columns: dict[str, list], arrays: Sequence[Float16[np.ndarray, "_ E"]]) -> None:
    """Write the rows of some proteins as a shard under the first free number; `columns` are those of `ShardIndex`."""
    taken = index_paths(folder)
    number = next(i for i in range(len(taken) + 1) if i not in taken)
    path = folder / f"shard-{number:05d}.npy"

    def write(target: Path) -> None:
        with open(target, "wb") as file:
            file.write(_header(sum(map(len, arrays)), arrays[0].shape[1]))
            file.writelines(map(np.ascontiguousarray, arrays))

    write_atomically(path, write)
    write_json(path.with_suffix(".json"), {**columns, "index": _index_digest(columns)})


def read_index(path: Path) -> ShardIndex:
    """Read the index of a shard; whether it is true is left to `shard_problems`."""
    entry = read_json(path)
    columns = [entry.get(name) for name in ShardIndex._fields]
    if not all(isinstance(c, list) and len(c) == len(columns[0]) > 0 for c in columns):
        raise InputError(f"{path}: not the index of a shard. Delete it and embed the proteins again.")
    return ShardIndex(*columns)


def require_size(path: Path, patches: int, width: int) -> None:
    """Raise `InputError` unless the array beside the index `path` has the size of so many patches; it isn't read."""
    array = path.with_suffix(".npy")
    expected = _HEADER + 2 * patches * width
    found = array.stat().st_size if array.is_file() else 0
    if found != expected:
        raise InputError(
            f"{array}: {found:,} bytes; its index says {expected:,}. Delete {path.name} and embed again: only its "
            "proteins are made anew."
        )


def map_rows(path: Path, patches: int, width: int) -> Float16[np.ndarray, "P E"]:
    """Return the array beside the index `path`, memory-mapped."""
    array = path.with_suffix(".npy")
    try:
        rows = np.asarray(np.load(array, mmap_mode="r"))
    except (OSError, ValueError) as error:
        raise InputError(f"{array}: unreadable ({error}). Delete it and {path.name}, and embed again.") from error
    if rows.shape != (patches, width) or rows.dtype != np.float16:
        raise InputError(
            f"{array}: holds {rows.dtype} {rows.shape}; its index says float16 {(patches, width)}. Delete it and "
            f"{path.name}, and embed again."
        )
    return rows


def shard_problems(path: Path, patch: int) -> list[str]:
    """Say what is wrong with the shard of the index `path`, byte for byte; nothing for a whole one."""
    array = path.with_suffix(".npy")
    try:
        entry = read_json(path)
        index = read_index(path)
    except InputError as error:
        return [str(error)]
    if entry.get("index") != _index_digest(entry):
        return [f"{path.name} was changed"]
    if not array.is_file():
        return [f"{array.name} is missing"]
    return [f"{array.name} was changed{where}" for where in _damaged(array.read_bytes(), index, patch)]


def _damaged(content: bytes, index: ShardIndex, patch: int) -> list[str]:
    """Say where an array's file is not what was written."""
    ends = np.cumsum(-(-np.array(index.lengths) // patch)).tolist()
    row, left = divmod(len(content) - _HEADER, ends[-1])
    if left or row % 2 or row < 2:
        return [f": {len(content):,} bytes for {ends[-1]:,} patches"]
    if content[:_HEADER] != _header(ends[-1], row // 2):
        return [", in its header or its size"]
    spans = pairwise(_HEADER + row * end for end in [0, *ends])
    parts = zip(index.ids, spans, index.contents, strict=True)
    wrong = [protein for protein, (start, stop), found in parts if digest(content[start:stop]) != found]
    return [f", in {len(wrong)} of its proteins, e.g. {', '.join(wrong[:5])}"] if wrong else []


def plan_groups(counts: Sequence[int]) -> list[slice]:
    """Cut proteins with `counts` patches, in their order, into the groups that become a shard each."""
    groups, start, total = [], 0, 0
    for i, count in enumerate(counts):
        total += count
        if total >= SHARD_PATCHES or i == len(counts) - 1:
            groups.append(slice(start, i + 1))
            start, total = i + 1, 0
    return groups
