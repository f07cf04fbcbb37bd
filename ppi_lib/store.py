"""`PatchStore`: the pooled patches of many proteins in one folder, memory-mapped.

A folder holds `store.json` (what made it) and shards: `shard-00000.npy`, the patches of its proteins one
after another as float16, and `shard-00000.json`, their ids, lengths, digests of their sequences and the SHA-256 of the
numbers. A shard
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
        self.info = StoreInfo(**meta)
        self._shards, self._place, self._hashes = [], {}, []
        self.digests: dict[str, str] = {}
        for index in sorted(self.path.glob("shard-*.json")):
            self._add_shard(index)

    def _add_shard(self, index: Path) -> None:
        entry = _read_json(index)
        lengths = np.array(entry["lengths"], dtype=np.int64)
        ends = np.cumsum(-(-lengths // self.info.patch))
        try:
            shard = np.load(index.with_suffix(".npy"), mmap_mode="r")
        except (OSError, ValueError) as error:
            raise InputError(f"{index.with_suffix('.npy')}: unreadable ({error}). Embed the proteins again.") from error
        if shard.shape != (int(ends[-1]), self.info.width):
            raise InputError(
                f"{index.with_suffix('.npy')}: holds {shard.shape}; its index says {(int(ends[-1]), self.info.width)}."
            )
        number = len(self._shards)
        self._shards.append(shard)
        self._hashes.append(entry["sha256"])
        starts = np.concatenate([[0], ends[:-1]])
        places = zip([number] * len(lengths), starts.tolist(), ends.tolist(), lengths.tolist(), strict=True)
        self._place.update(zip(entry["ids"], places, strict=True))
        self.digests.update(zip(entry["ids"], entry["digests"], strict=True))

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, protein: str) -> bool:
        return protein in self._place

    @property
    def ids(self) -> list[str]:
        return list(self._place)

    @property
    def fingerprint(self) -> str:
        """A hash of all that the store holds."""
        return hashlib.sha256(json.dumps([*self.info, *self._hashes]).encode()).hexdigest()[:16]

    def require(self, proteins: Iterable[str]) -> None:
        """Raise `InputError` if one of `proteins` is not here."""
        missing = sorted({protein for protein in proteins if protein not in self._place})
        if missing:
            raise InputError(
                f"{self.path}: {len(missing)} proteins are not in the store, e.g. {', '.join(missing[:5])}. "
                "Embed a FASTA file that has them."
            )

    def length(self, protein: str) -> int:
        """Residues of `protein` that were embedded."""
        return self._place[protein][3]

    def __getitem__(self, protein: str) -> np.ndarray:
        """Return the patches `(P, E)`, float32."""
        self.require([protein])
        shard, start, stop, _ = self._place[protein]
        values = np.asarray(self._shards[shard][start:stop], dtype=np.float32)
        if not np.isfinite(values.sum()):
            raise InputError(f"{self.path}: {protein} holds NaN or infinite values. Embed it again.")
        return values

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

    Use as a context manager; `done` holds the digests of the proteins that are already whole.
    """

    def __init__(self, path: str | Path, info: StoreInfo):
        self.path, self.info = Path(path), info
        self._clear()

    def _clear(self) -> None:
        self._ids, self._arrays, self._lengths, self._digests, self._patches = [], [], [], [], 0

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
        self.done = PatchStore(self.path).digests
        return self

    def add(self, protein: str, patches: Float[np.ndarray, "P E"], length: int, digest: str = "") -> None:
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
        self._ids.append(protein)
        self._arrays.append(stored)
        self._lengths.append(int(length))
        self._digests.append(digest)
        self._patches += rows
        if self._patches >= _SHARD_PATCHES:
            self.flush()

    def flush(self) -> None:
        """Write what was added as one shard."""
        if not self._ids:
            return
        number = len(list(self.path.glob("shard-*.json")))
        target = self.path / f"shard-{number:05d}.npy"
        shard = np.concatenate(self._arrays)
        write_atomically(target, lambda path: _save_array(path, shard))
        entry = {
            "sha256": hashlib.sha256(shard).hexdigest(),
            "ids": self._ids,
            "lengths": self._lengths,
            "digests": self._digests,
        }
        self._write_json(target.with_suffix(".json").name, entry)
        self._clear()

    def _write_json(self, name: str, content: dict) -> None:
        write_atomically(self.path / name, lambda path: path.write_text(json.dumps(content)))

    def __exit__(self, *error) -> None:
        self.flush()
