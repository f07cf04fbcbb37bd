"""`TokenTable`: the encoder's output for many proteins, each encoded once.

With a frozen encoder a protein's tokens are the same in every pair, so training and prediction read them
from here. A table is keyed by all it depends on (encoder weights, store, proteins, precision); a table
on disk with another key is not used.

Shape letters: B pairs, P patches, T tokens of both proteins, D model width, N proteins, R rows of the table.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically
from ppi_lib.memory import keep_freed_memory
from ppi_lib.model import TokenPairs

_BATCH_PATCHES = 1_536
_GROUP = 128


class TokenTable:
    """Tokens of `proteins`, one after another, and a row of zeros that padding points to."""

    def __init__(self, proteins: Sequence[str], counts: Int[np.ndarray | Tensor, " N"], rows: Float[Tensor, "R D"]):
        self.index = {protein: i for i, protein in enumerate(proteins)}
        self.rows = rows
        self.counts = torch.as_tensor(counts)
        self.starts = self.counts.cumsum(0) - self.counts
        self._buffer = rows[:0]

    def places(self, proteins: Iterable[str]) -> Int[Tensor, " B"]:
        """Return the place of each protein in the table."""
        return torch.tensor([self.index[protein] for protein in proteins], dtype=torch.int64)

    def gather(self, a: Int[Tensor, " B"], b: Int[Tensor, " B"]) -> list[TokenPairs]:
        """Return the tokens of pairs given by their places, in groups padded to their longest pair.

        Pairs of like length should stand together. All calls write to one buffer: new memory of this size would
        cost more than the copy. So the tokens are good until the next call.
        """
        groups = [self._rows_of(*group) for group in zip(a.split(_GROUP), b.split(_GROUP), strict=True)]
        rows = torch.cat([row.flatten() for row, _ in groups]).to(self.rows.device)
        tokens = self._select(rows)
        parts = tokens.split([row.numel() for row, _ in groups])
        return [
            TokenPairs(part.view(*row.shape, -1), mask.to(self.rows.device))
            for part, (row, mask) in zip(parts, groups, strict=True)
        ]

    def _select(self, rows: Int[Tensor, " T"]) -> Float[Tensor, "T D"]:
        """Return `rows` of the table: in the buffer, or with their gradient if the table has one."""
        if self.rows.requires_grad:
            return self.rows.index_select(0, rows)
        if len(self._buffer) < len(rows):
            self._buffer = self.rows.new_empty(len(rows), self.rows.shape[1])
        return torch.index_select(self.rows, 0, rows, out=self._buffer[: len(rows)])

    def _rows_of(self, a: Int[Tensor, " B"], b: Int[Tensor, " B"]) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
        """Return the row of each token, protein A's before protein B's, and which are real."""
        count_a, both = self.counts[a, None], (self.counts[a] + self.counts[b])[:, None]
        column = torch.arange(int(both.max()))
        row = torch.where(column < count_a, self.starts[a, None] + column, self.starts[b, None] + column - count_a)
        mask = column < both
        return torch.where(mask, row, len(self.rows) - 1), mask


def require_store(config, store, proteins: Iterable[str]) -> None:
    """Raise `InputError` unless `store` holds `proteins`, in patches that a model of this `ModelConfig` reads."""
    proteins = list(proteins)
    store.require(proteins)
    if store.info.width != config.embedding_width:
        raise InputError(
            f"{store.path}: embeddings are {store.info.width} wide; the model reads {config.embedding_width}. Embed "
            "with the embedder that it was trained on, or build it with "
            f"ModelConfig(embedding_width={store.info.width})."
        )
    if store.info.patch != config.patch:
        raise InputError(
            f"{store.path}: patches are of {store.info.patch} residues; the model reads patches of {config.patch}. "
            f"Build it with ModelConfig(patch={store.info.patch})."
        )
    longest = max(proteins, key=store.length, default=None)
    if longest is not None and store.length(longest) > config.max_residues:
        raise InputError(
            f"{store.path}: {longest} has {store.length(longest)} residues; the model reads up to "
            f"{config.max_residues}. Build it with ModelConfig(max_residues={store.length(longest)}), or cut it."
        )


def encoder_fingerprint(encoder: torch.nn.Module) -> str:
    """Hash the configuration, weights and buffers of an encoder."""
    digest = hashlib.sha256(repr(encoder.config).encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _by_length(counts: Int[Tensor, " N"]) -> Iterator[Int[Tensor, " G"]]:
    """Deal proteins of like length into groups of about `_BATCH_PATCHES` padded patches."""
    order = torch.argsort(counts, stable=True)
    while len(order):
        padded = counts[order] * torch.arange(1, len(order) + 1)
        size = max(1, int(torch.searchsorted(padded, _BATCH_PATCHES, right=True)))
        yield order[:size]
        order = order[size:]


def encode_table(encoder, patches, places: Int[Tensor, " N"]) -> TokenTable:
    """Run the encoder on the proteins of a `PatchTable` at `places`; gradients flow back through the table."""
    counts, parts = patches.counts[places], {}
    for group in _by_length(counts):
        values, lengths, _ = patches.gather(places[group])
        tokens = encoder(values.to(encoder.cls_token.device), lengths.to(encoder.cls_token.device))[:, 1:]
        parts |= {int(i): row[:count] for i, row, count in zip(group, tokens, counts[group], strict=True)}
    ordered = [parts[i] for i in range(len(places))]
    rows = torch.cat([*ordered, torch.zeros_like(ordered[0][:1])])
    return TokenTable([patches.proteins[i] for i in places], counts, rows)


def _encode(encoder, store, proteins: Sequence[str], dtype: torch.dtype, progress: bool) -> TokenTable:
    """Run the encoder on batches of proteins of like length."""
    keep_freed_memory()
    device = encoder.cls_token.device
    counts = torch.tensor([-(-store.length(protein) // store.info.patch) for protein in proteins])
    starts = counts.cumsum(0) - counts
    rows = torch.zeros(int(counts.sum()) + 1, len(encoder.cls_token), dtype=dtype, device=device)
    bar = tqdm(total=len(counts), desc="encode", unit="protein", disable=not progress)
    for group in _by_length(counts):
        values, lengths = store.batch([proteins[i] for i in group])
        with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            tokens = encoder(values.to(device), lengths.to(device))[:, 1:]
        for i, row in zip(group, tokens, strict=True):
            rows[starts[i] : starts[i] + counts[i]] = row[: counts[i]]
        bar.update(len(group))
    bar.close()
    return TokenTable(proteins, counts, rows)


def encode_proteins(
    model,
    store,
    proteins: Iterable[str],
    *,
    dtype: torch.dtype = torch.float32,
    cache: str | Path | None = None,
    progress: bool = True,
) -> TokenTable:
    """Encode each of `proteins` once, with `model.encoder` in eval mode.

    With `cache` (a file) the table is kept there and read back when encoder, store, proteins and
    precision are the same; otherwise it is made again and replaces the file.
    """
    proteins = list(dict.fromkeys(proteins))
    require_store(model.config, store, proteins)
    if cache is None:
        return _in_eval_mode(model.encoder, store, proteins, dtype, progress)
    parts = [encoder_fingerprint(model.encoder), store.fingerprint(proteins), str(dtype), *proteins]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    table = _read(Path(cache), key, proteins, model.encoder.cls_token.device)
    if table is None:
        table = _in_eval_mode(model.encoder, store, proteins, dtype, progress)
        tensors = {"rows": table.rows.cpu(), "counts": table.counts}
        write_atomically(Path(cache), lambda path: save_file(tensors, path, metadata={"key": key}))
    return table


def _in_eval_mode(encoder, store, proteins: list[str], dtype: torch.dtype, progress: bool) -> TokenTable:
    training = encoder.training
    encoder.eval()
    try:
        return _encode(encoder, store, proteins, dtype, progress)
    finally:
        encoder.train(training)


def _read(cache: Path, key: str, proteins: list[str], device: torch.device) -> TokenTable | None:
    """Read a table if the file is whole and has this key."""
    if not cache.exists():
        return None
    try:
        with safe_open(cache, framework="pt", device=str(device)) as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return TokenTable(proteins, file.get_tensor("counts").cpu(), file.get_tensor("rows"))
    except SafetensorError:
        return None


def score_pairs(
    model,
    table: TokenTable,
    places_a: Int[Tensor, " B"],
    places_b: Int[Tensor, " B"],
    *,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 1024,
    dropout: bool = False,
) -> Float[np.ndarray, " B"]:
    """Return the logits, float32, of pairs given by their places; pairs of like length share a batch.

    The protein that stands first in the table goes first, so that (A, B) and (B, A) are the same computation.
    `dropout` leaves that of training on.
    """
    first, second = torch.minimum(places_a, places_b), torch.maximum(places_a, places_b)
    order = torch.argsort(table.counts[first] + table.counts[second], stable=True)
    logits, training = torch.empty(len(order)), model.training
    model.train(dropout)
    with torch.no_grad(), torch.autocast(table.rows.device.type, dtype, enabled=dtype != torch.float32):
        for rows in order.split(batch_size):
            logits[rows] = model.score_tokens(table.gather(first[rows], second[rows])).float().cpu()
    model.train(training)
    return logits.numpy()
