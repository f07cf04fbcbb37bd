"""`PatchStore`: the pooled patches of many proteins in one folder, memory-mapped.

A folder holds `store.json` (what made it) and shards (`shards.py`), each whole or not there. Opening reads the
indexes alone; a protein's numbers are read, and checked, when asked for. They are the embedder's own, not
standardised: a model does that, by its training proteins.

One process writes at a time. A writer that was cut off, however, goes on at the last whole shard and ends with the
same bytes, because shards are cut by the order of the proteins alone.

Shape letters: B proteins, P patches, E embedding width.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float, Float16, Int
from torch import Tensor

from ppi_lib import __version__
from ppi_lib.errors import InputError
from ppi_lib.files import make_folder
from ppi_lib.shards import (
    SHARD_PATCHES,
    ShardIndex,
    digest,
    index_paths,
    map_rows,
    read_index,
    read_json,
    require_size,
    write_json,
    write_shard,
)

_FORMAT = 2


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
    precision: str = "float32"
    """Precision that a language model computed in; numbers of two precisions differ by some hundredths."""

    def __str__(self) -> str:
        precision = "" if self.precision == "float32" else f", {self.precision}"
        return f"{self.embedder} (version {self.version}, width {self.width}, patches of {self.patch}{precision})"


class StoreBatch(NamedTuple):
    """Patches of some proteins, padded with zeros to the longest of them."""

    values: Float[Tensor, "B P E"]
    lengths: Int[Tensor, " B"]


class PatchStore:
    """Patches by protein id."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "store.json").is_file():
            raise InputError(f"{self.path}: no patch store (it has no store.json). Make one with `ppi embed`.")
        self._read_meta(read_json(self.path / "store.json"))
        self._indexes = list(index_paths(self.path).values())
        indexes = [read_index(path) for path in self._indexes]
        self._ids, self._sequences, self._contents = (
            [value for index in indexes for value in getattr(index, name)] for name in ("ids", "sequences", "contents")
        )
        self._lengths = np.array([length for index in indexes for length in index.lengths], dtype=np.int64)
        self._place = dict(zip(self._ids, range(len(self._ids)), strict=True))
        self._measure(np.array([len(index.ids) for index in indexes], dtype=np.int64))
        self._rows: dict[int, np.ndarray] = {}

    def _read_meta(self, meta: dict) -> None:
        """Take what `store.json` says."""
        if meta.pop("format", None) != _FORMAT:
            raise InputError(
                f"{self.path}: a store of another format than {_FORMAT}, which this ppi_lib doesn't read. Delete it, "
                "or choose another folder, and embed the proteins again."
            )
        self.made_by, self.finished = meta.pop("ppi_lib", None), meta.pop("finished", 0)
        try:
            self.info = StoreInfo(**meta)
        except TypeError as error:
            raise InputError(f"{self.path / 'store.json'}: not a store's description ({error}).") from error

    def _measure(self, proteins: np.ndarray) -> None:
        """Find where each protein lies, and check the sizes of the shards with so many `proteins` each."""
        if len(self._place) != len(self._ids):
            twice = sorted({p for i, p in enumerate(self._ids) if self._place[p] != i})
            raise InputError(
                f"{self.path}: {len(twice)} proteins are in it twice, e.g. {', '.join(twice[:5])}. Delete one of the "
                "shards that hold them (both its files), and embed again."
            )
        self._shard = np.repeat(np.arange(len(proteins)), proteins)
        counts = -(-self._lengths // self.info.patch)
        self._patches = np.bincount(self._shard, weights=counts, minlength=len(proteins)).astype(np.int64)
        self._stop = np.cumsum(counts) - (np.cumsum(self._patches) - self._patches)[self._shard]
        for path, patches in zip(self._indexes, self._patches.tolist(), strict=True):
            require_size(path, patches, self.info.width)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, protein: str) -> bool:
        return protein in self._place

    @property
    def shards(self) -> int:
        """Number of shards; `finished` is what it was when a writer last came to its end."""
        return len(self._indexes)

    @property
    def ids(self) -> list[str]:
        return list(self._ids)

    def fingerprint(self, proteins: Iterable[str]) -> str:
        """Hash the embeddings of `proteins`, whatever else the store holds."""
        places = ((p, self._place[p]) for p in sorted(set(proteins)))
        parts = [f"{p} {self._lengths[i]} {self._contents[i]}" for p, i in places]
        return hashlib.sha256("\n".join([repr(self.info), *parts]).encode()).hexdigest()[:16]

    def require(self, proteins: Iterable[str]) -> None:
        """Raise `InputError` if one of `proteins` is not here."""
        missing = sorted({protein for protein in proteins if protein not in self._place})
        if missing:
            raise InputError(
                f"{self.path}: {len(missing)} proteins are not in the store, e.g. {', '.join(missing[:5])}. "
                "Embed a FASTA file that has them."
            )

    def sequence_digest(self, protein: str) -> str:
        """Digest of the sequence that `protein` was embedded from."""
        return self._sequences[self._place[protein]]

    def length(self, protein: str) -> int:
        """Residues of `protein` that were embedded."""
        return int(self._lengths[self._place[protein]])

    def rows(self, protein: str) -> Float16[np.ndarray, "P E"]:
        """Return the patches as they are stored, checked."""
        self.require([protein])
        place = self._place[protein]
        shard = int(self._shard[place])
        if shard not in self._rows:
            self._rows[shard] = map_rows(self._indexes[shard], int(self._patches[shard]), self.info.width)
        stop = self._stop[place]
        rows = self._rows[shard][stop - -(-self._lengths[place] // self.info.patch) : stop]
        if digest(rows) != self._contents[place]:
            raise InputError(
                f"{self.path}: the numbers of {protein} were changed or damaged. `ppi store check` says which shard to "
                "delete; embed again then."
            )
        return rows

    def __getitem__(self, protein: str) -> Float[np.ndarray, "P E"]:
        """Return the patches, float32."""
        return self.rows(protein).astype(np.float32)

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

    Use as a context manager; `done` is the store with the proteins that are already whole. What is not a whole shard
    when an error ends it is not written, so that the shards never tell where a run was cut off.
    """

    def __init__(self, path: str | Path, info: StoreInfo):
        self.path, self.info = Path(path), info
        self._clear()

    def _clear(self) -> None:
        self._columns: dict[str, list] = {name: [] for name in ShardIndex._fields}
        self._arrays, self._patches = [], 0

    def __enter__(self) -> "StoreWriter":
        make_folder(self.path)
        # a writer that was killed holds it until its workers are dead too
        self._lock = FileLock(self.path / "store.lock", timeout=1)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise InputError(
                f"{self.path}: another process is writing to this store. Wait for it, or choose another folder."
            ) from error
        except OSError as error:
            raise InputError(f"{self.path}: can't be written to ({error}). Choose another folder.") from error
        try:
            self.done = self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def _open(self) -> PatchStore:
        for left in self.path.glob("*.tmp"):  # of a writer that was killed
            left.unlink()
        if (self.path / "store.json").exists():
            found = PatchStore(self.path)
            if found.info != self.info:
                raise InputError(
                    f"{self.path}: holds a store of {found.info}; asked to write {self.info}. Choose another folder."
                )
            return found
        write_json(self.path / "store.json", {"format": _FORMAT, "ppi_lib": __version__, **self.info._asdict()})
        return PatchStore(self.path)

    def add(self, protein: str, patches: Float[np.ndarray, "P E"], length: int, sequence_digest: str) -> None:
        """Take one protein and the digest of its sequence; on disk when its shard is full or the writer is closed."""
        rows = -(-length // self.info.patch)
        if patches.shape != (rows, self.info.width):
            raise InputError(
                f"{protein}: patches are {patches.shape}; {length} residues make {(rows, self.info.width)}."
            )
        with np.errstate(over="ignore"):
            stored = patches.astype(np.float16)
        # all bits of the exponent are set in infinity and NaN; np.isfinite takes seven times as long for float16
        if (stored.view(np.uint16) & 0x7C00).max() == 0x7C00:
            raise InputError(f"{protein}: the embedding holds NaN, infinite values or numbers above 65,504.")
        for name, value in zip(ShardIndex._fields, (protein, length, sequence_digest, digest(stored)), strict=True):
            self._columns[name].append(value)
        self._arrays.append(stored)
        self._patches += rows
        if self._patches >= SHARD_PATCHES:
            self._flush()

    def _flush(self) -> None:
        """Write what was added as one shard."""
        if self._arrays:
            write_shard(self.path, self._columns, self._arrays)
            self._clear()

    def __exit__(self, kind: type[BaseException] | None, *error) -> None:
        try:
            if kind is None:
                self._flush()
                self._finish()
        finally:
            self._lock.release()

    def finish(self) -> None:
        """Write nothing but what a writer that comes to its end does."""
        with self:
            pass

    def _finish(self) -> None:
        """Note how many shards there are, so that one that is missing later is found."""
        meta = read_json(self.path / "store.json")
        shards = len(index_paths(self.path))
        if meta.get("finished", 0) != shards:
            write_json(self.path / "store.json", {**meta, "finished": shards})
