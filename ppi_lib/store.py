"""`PatchStore`: the pooled patches of many proteins in one folder, memory-mapped.

A folder holds `store.json` (what made it) and shards: `shard-00000.npy`, the patches of its proteins one
after another as float16, and `shard-00000.json`, their ids and lengths, and digests of
their sequences and of their numbers, which are checked when a protein is read. A shard
is written under another name and moved into place, its JSON last: a shard with a JSON is whole.

Shape letters: B proteins, P patches, E embedding width.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ppi_lib.errors import InputError
from ppi_lib.files import make_folder, write_atomically

_SHARD_PATCHES = 65_536
_FORMAT = 1


class StoreInfo(NamedTuple):
    """What made a store; two stores with the same numbers in all fields can serve the same model."""

    embedder: str
    """Name of the embedder, e.g. `profile`."""
    version: str
    """Version of the embedder's code or weights."""
    width: int
    """Width of an embedding."""
    patch: int = 32
    """Residues of a patch."""


class StoreBatch(NamedTuple):
    """Patches of some proteins, padded with zeros to the longest of them."""

    values: Float[Tensor, "B P E"]
    lengths: Int[Tensor, " B"]


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}). Embed the proteins again.") from error


class _Entry(NamedTuple):
    """One protein of a store."""

    rows: np.ndarray
    length: int
    sequence: str
    """Digest of the sequence."""
    content: str
    """Digest of `rows`."""


def _digest(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows)).hexdigest()[:16]


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # np.save would add .npy to the temporary name
        np.save(file, array)


class PatchStore:
    """Patches by protein id. Opening reads the index only; a protein's patches are read when asked for."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "store.json").is_file():
            raise InputError(f"{self.path}: no patch store (it has no store.json). Make one with `ppi embed`.")
        meta = _read_json(self.path / "store.json")
        if meta.pop("format", None) != _FORMAT:
            raise InputError(f"{self.path}: a store of another format than {_FORMAT}. Embed the proteins again.")
        try:
            self.info = StoreInfo(**meta)
        except TypeError as error:
            raise InputError(f"{self.path / 'store.json'}: not a store's description ({error}).") from error
        self._entries: dict[str, _Entry] = {}
        for index in sorted(self.path.glob("shard-*.json")):
            self._add_shard(index)

    def _add_shard(self, index: Path) -> None:
        entry = _read_json(index)
        columns = [entry.get(name) for name in ("ids", "lengths", "sequences", "contents")]
        if not all(isinstance(c, list) and len(c) == len(columns[0]) > 0 for c in columns):
            raise InputError(f"{index}: not the index of a shard. Delete it and embed the proteins again.")
        ends = np.cumsum([-(-length // self.info.patch) for length in columns[1]])
        try:
            shard = np.asarray(np.load(index.with_suffix(".npy"), mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise InputError(f"{index.with_suffix('.npy')}: unreadable ({error}). Embed the proteins again.") from error
        expected = (int(ends[-1]), self.info.width)
        if shard.shape != expected:
            raise InputError(f"{index.with_suffix('.npy')}: holds {shard.shape}; its index says {expected}.")
        for protein, length, sequence, content, end in zip(*columns, ends.tolist(), strict=True):
            rows = shard[end - -(-length // self.info.patch) : end]
            self._entries[protein] = _Entry(rows, length, sequence, content)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, protein: str) -> bool:
        return protein in self._entries

    @property
    def ids(self) -> list[str]:
        return list(self._entries)

    def fingerprint(self, proteins: Iterable[str]) -> str:
        """Hash the embeddings of `proteins`, whatever else the store holds."""
        parts = [f"{p} {self._entries[p].length} {self._entries[p].content}" for p in sorted(set(proteins))]
        return hashlib.sha256("\n".join([repr(self.info), *parts]).encode()).hexdigest()[:16]

    def require(self, proteins: Iterable[str]) -> None:
        """Raise `InputError` if one of `proteins` is not here."""
        missing = sorted({protein for protein in proteins if protein not in self._entries})
        if missing:
            raise InputError(
                f"{self.path}: {len(missing)} proteins are not in the store, e.g. {', '.join(missing[:5])}. "
                "Embed a FASTA file that has them."
            )

    def sequence_digest(self, protein: str) -> str:
        """Digest of the sequence that `protein` was embedded from."""
        return self._entries[protein].sequence

    def length(self, protein: str) -> int:
        """Residues of `protein` that were embedded."""
        return self._entries[protein].length

    def __getitem__(self, protein: str) -> np.ndarray:
        """Return the patches `(P, E)`, float32."""
        self.require([protein])
        entry = self._entries[protein]
        if _digest(entry.rows) != entry.content:
            raise InputError(f"{self.path}: the numbers of {protein} were changed or damaged. Embed it again.")
        return entry.rows.astype(np.float32)

    def batch(self, proteins: Sequence[str]) -> StoreBatch:
        """Return the patches of several proteins, padded."""
        arrays = [self[protein] for protein in proteins]
        values = torch.zeros(len(arrays), max(map(len, arrays)), self.info.width)
        for row, array in zip(values, arrays, strict=True):
            row[: len(array)] = torch.from_numpy(array)
        return StoreBatch(values, torch.tensor([self.length(protein) for protein in proteins]))

    def moments(self, proteins: Iterable[str]) -> tuple[Float[Tensor, " E"], Float[Tensor, " E"]]:
        """Return mean and standard deviation of each feature over all patches of `proteins`."""
        count, total, squares = 0, 0.0, 0.0
        for protein in proteins:
            values = self[protein].astype(np.float64)
            count, total, squares = count + len(values), total + values.sum(0), squares + (values**2).sum(0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()


class StoreWriter:
    """Write a store shard by shard; started again on the same folder it goes on where it was.

    Use as a context manager; `done` is the store with the proteins that are already whole.
    """

    def __init__(self, path: str | Path, info: StoreInfo):
        self.path, self.info = Path(path), info
        self._clear()

    def _clear(self) -> None:
        self._columns = {"ids": [], "lengths": [], "sequences": [], "contents": []}
        self._arrays, self._patches = [], 0

    def __enter__(self) -> "StoreWriter":
        make_folder(self.path)
        if (self.path / "store.json").exists():
            found = PatchStore(self.path).info
            if found != self.info:
                raise InputError(
                    f"{self.path}: holds a store of {found}; asked to write {self.info}. Choose another folder."
                )
        else:
            self._write_json("store.json", {"format": _FORMAT, **self.info._asdict()})
        self.done = PatchStore(self.path)
        return self

    def add(self, protein: str, patches: Float[np.ndarray, "P E"], length: int, sequence_digest: str) -> None:
        """Take one protein and the digest of its sequence; on disk when its shard is full or the writer is closed."""
        rows = -(-length // self.info.patch)
        if patches.shape != (rows, self.info.width):
            raise InputError(
                f"{protein}: patches are {patches.shape}; {length} residues make {(rows, self.info.width)}."
            )
        with np.errstate(over="ignore"):
            stored = patches.astype(np.float16)
        if not np.isfinite(stored).all():
            raise InputError(f"{protein}: the embedding holds NaN, infinite values or numbers above 65,504.")
        for name, value in zip(self._columns, (protein, length, sequence_digest, _digest(stored)), strict=True):
            self._columns[name].append(value)
        self._arrays.append(stored)
        self._patches += rows
        if self._patches >= _SHARD_PATCHES:
            self.flush()

    def flush(self) -> None:
        """Write what was added as one shard."""
        if not self._arrays:
            return
        numbers = [int(path.stem.removeprefix("shard-")) for path in self.path.glob("shard-*.json")]
        target = self.path / f"shard-{max(numbers, default=-1) + 1:05d}.npy"
        shard = np.concatenate(self._arrays)
        write_atomically(target, lambda path: _save_array(path, shard))
        self._write_json(target.with_suffix(".json").name, self._columns)
        self._clear()

    def _write_json(self, name: str, content: dict) -> None:
        write_atomically(self.path / name, lambda path: path.write_text(json.dumps(content)))

    def __exit__(self, *error) -> None:
        self.flush()
