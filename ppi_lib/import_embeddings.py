"""Residue embeddings that others made: HDF5, npz, safetensors, and pickles of v5's first implementation.

A file holds one array `(L, E)` per protein, under the protein's id: as UniProt publishes them, as bio_embeddings
writes them (the id in the attribute `original_id`), as D-SCRIPT does (a leading axis of one). The offset rule: an
array with as many rows as its sequence has residues is taken as it is, one with two more loses its first and its
last row, those of a start and an end token; anything else is refused.

A pickle can run any code when it is opened, so it is opened only for who says that it can be trusted. In v5's first
implementation one holds a dictionary of arrays, another a table of pairs (`uniprotID_A`, `uniprotID_B`,
`isInteraction`).

Shape letters: L residues, P patches, E embedding width.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from ppi_lib.embed import Embedder, embed_proteins
from ppi_lib.encoder import pool_residues
from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically
from ppi_lib.proteins import MAX_RESIDUES, Proteins
from ppi_lib.records import accession
from ppi_lib.store import PatchStore, StoreInfo

_PAIR_COLUMNS = ("uniprotID_A", "uniprotID_B", "isInteraction")
_RULE = "expected a row per residue, or two more (a start and an end row, which are taken off)"


class StoredArray(NamedTuple):
    """One protein's array in a file: its shape is known, its numbers are read when asked for."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


@contextmanager
def _open_hdf5(path: Path) -> Iterator[dict[str, StoredArray]]:
    with h5py.File(path, "r") as file:
        arrays = {}
        for name, dataset in file.items():
            if isinstance(dataset, h5py.Dataset):
                known = dataset.attrs.get("original_id", name)
                known = known.decode() if isinstance(known, bytes) else str(known)
                _add(arrays, known, StoredArray(dataset.shape, lambda dataset=dataset: dataset[()]), path)
        yield arrays


@contextmanager
def _open_npz(path: Path) -> Iterator[dict[str, StoredArray]]:
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("not a zip archive, as npz is")
    with np.load(path, allow_pickle=False) as file, zipfile.ZipFile(path) as archive:
        arrays = {}
        for name in file.files:
            with archive.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape = header[version](member)[0]
            _add(arrays, name, StoredArray(shape, lambda name=name: file[name]), path)
        yield arrays


@contextmanager
def _open_safetensors(path: Path) -> Iterator[dict[str, StoredArray]]:
    with safe_open(path, framework="pt") as file:  # numpy has no bfloat16
        arrays = {}
        for name in file.keys():  # noqa: SIM118
            shape = tuple(file.get_slice(name).get_shape())
            _add(arrays, name, StoredArray(shape, lambda name=name: file.get_tensor(name).float().numpy()), path)
        yield arrays


@contextmanager
def _open_pickle(path: Path) -> Iterator[dict[str, StoredArray]]:
    content = _unpickle(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}; expected a dictionary of one array per protein.")
    arrays = {}
    for name, value in content.items():
        array = value.detach().cpu().float().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        _add(arrays, str(name), StoredArray(array.shape, lambda array=array: array), path)
    yield arrays


_OPENERS = {
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), _open_hdf5),
    ".npz": _open_npz,
    ".safetensors": _open_safetensors,
    **dict.fromkeys((".pkl", ".pickle"), _open_pickle),
}


def is_pickle(path: str | Path) -> bool:
    return _OPENERS.get(Path(path).suffix) is _open_pickle


def _unpickle(path: Path) -> Any:
    try:
        return pd.read_pickle(path)
    except Exception as error:  # a pickle can raise anything
        raise InputError(f"{path}: not a pickle that opens here ({type(error).__name__}: {error}).") from error


def _require_trust(path: Path, trust_pickle: bool) -> None:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file. Check the path.")
    if is_pickle(path) and not trust_pickle:
        raise InputError(
            f"{path}: not opened, since a pickle can run any code. If you know who wrote it, say so with "
            "--trust-pickle (trust_pickle=True); better, ask for HDF5, npz or safetensors."
        )


def _add(arrays: dict[str, StoredArray], name: str, array: StoredArray, path: Path) -> None:
    words = name.split()
    known = accession(words[0]) if words else name
    if known in arrays:
        raise InputError(f"{path}: {known!r} stands twice; expected one array per protein. Remove one of them.")
    arrays[known] = array


def _check_shapes(arrays: Mapping[str, StoredArray], proteins: Proteins, path: Path) -> int:
    """Return the width, or raise `InputError` for a protein that is missing or has an array of another shape."""
    missing = [protein for protein in proteins.sequences if protein not in arrays]
    if missing:
        raise InputError(
            f"{path}: {len(missing):,} of {len(proteins.sequences):,} proteins are not in it, the first "
            f"{', '.join(missing[:5])}; it holds {len(arrays):,}, e.g. {', '.join(list(arrays)[:3]) or 'none'}. Leave "
            "the missing ones out of the sequences, or name them as in the file."
        )
    width = None
    for protein, sequence in proteins.sequences.items():
        shape = arrays[protein].shape
        shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
        if len(shape) != 2:
            raise InputError(
                f"{path}: {protein} is of shape {shape}; expected (residues, width). One vector per protein is not "
                "enough: take the file of residue embeddings."
            )
        if shape[0] not in (len(sequence), len(sequence) + 2):
            raise InputError(
                f"{path}: {protein} has {shape[0]:,} rows and its sequence {len(sequence):,} residues; {_RULE}. Give "
                "the sequences that were embedded, cut where they were cut."
            )
        width = width or shape[1]
        if shape[1] != width:
            raise InputError(f"{path}: {protein} is {shape[1]} wide, those before it {width}; expected one width.")
    return width


def _pool(array: np.ndarray, protein: str, residues: int, path: Path) -> Float[np.ndarray, "P E"]:
    """Return the patches of one protein."""
    rows = np.asarray(array, dtype=np.float32).reshape(-1, array.shape[-1])
    rows = rows[1:-1] if len(rows) == residues + 2 else rows
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise InputError(f"{path}: {protein} has NaN or infinite values, first at residue {row + 1}. Embed it again.")
    return pool_residues(torch.from_numpy(np.ascontiguousarray(rows[:MAX_RESIDUES]))[None]).values[0].numpy()


def _check_held(arrays: Mapping[str, StoredArray], proteins: Proteins, out, info: StoreInfo, path: Path) -> None:
    """Raise `InputError` if the store holds other numbers of a protein than the file: an older version of it."""
    held = PatchStore(out) if (Path(out) / "store.json").exists() else None
    if held is None or held.info != info:
        return
    for protein, sequence in proteins.sequences.items():
        if protein in held and held.length(protein) == min(len(sequence), MAX_RESIDUES):
            patches = _pool(arrays[protein].read(), protein, len(sequence), path)
            if not np.array_equal(patches.astype(held.rows(protein).dtype), held.rows(protein)):
                raise InputError(
                    f"{path}: {protein} has other embeddings there than in {out}, which was imported before; expected "
                    "the same. Choose another --out, or delete that one."
                )


def import_embeddings(
    path: str | Path,
    proteins: Proteins,
    out: str | Path,
    *,
    name: str = "imported",
    trust_pickle: bool = False,
    progress: bool = True,
) -> PatchStore:
    """Pool the residue embeddings of `proteins` in a file to a store, which goes on where it was cut off.

    `name` says what made them: a model trained on one store reads another of the same name and width. Raises
    `InputError` before any work for a protein that is missing, of another length than its sequence, or of another
    width, and for one that the store holds with other numbers.
    """
    path = Path(path)
    if path.suffix not in _OPENERS:
        raise InputError(f"{path}: ends with {path.suffix!r}; expected {', '.join(_OPENERS)}. Convert or rename it.")
    _require_trust(path, trust_pickle)
    try:
        with _OPENERS[path.suffix](path) as arrays:
            width = _check_shapes(arrays, proteins, path)

            def embed(groups: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, np.ndarray]]:
                for protein in chain.from_iterable(groups):
                    yield protein, _pool(arrays[protein].read(), protein, len(proteins.sequences[protein]), path)

            embedder = Embedder(StoreInfo(name, "imported", width), embed)
            _check_held(arrays, proteins, out, embedder.info, path)
            return embed_proteins(proteins, out, embedder=embedder, progress=progress)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged or cut off ({error}). Copy it again.") from error


def import_pairs(path: str | Path, out: str | Path, *, trust_pickle: bool = False) -> int:
    """Write the pairs of a pickled table to `out`, with tabs, for `read_pairs`, and return how many there are."""
    path = Path(path)
    _require_trust(path, trust_pickle)
    table = _unpickle(path)
    if not isinstance(table, pd.DataFrame) or not set(_PAIR_COLUMNS) <= set(table.columns):
        found = f"columns {', '.join(map(str, table.columns))}" if isinstance(table, pd.DataFrame) else type(table)
        raise InputError(f"{path}: holds {found}; expected a table with {', '.join(_PAIR_COLUMNS)}.")
    columns = [*_PAIR_COLUMNS, *(name for name in ("trainTest",) if name in table)]
    write_atomically(Path(out), lambda target: table[columns].to_csv(target, sep="\t", index=False))
    return len(table)
