"""Sequence to residue embeddings to a `PatchStore`.

`profile` (`profile.py`) needs no download; language models are in `language_model.py`, and embeddings that others
made in `import_embeddings.py`. Whatever the embedder, proteins go in groups that become a shard each, in the order
of the input: a run that was cut off goes on at the last whole shard, and the store's bytes do not tell.

Shape letters: P patches, E embedding width.
"""

import ctypes
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ppi_lib.errors import InputError
from ppi_lib.profile import VERSION, WIDTH, profile_patches
from ppi_lib.proteins import MAX_RESIDUES, Proteins
from ppi_lib.shards import plan_groups
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter

_MOST_WORKERS, _WORTH_WORKERS = 8, 400
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Embedder(NamedTuple):
    info: StoreInfo
    embed: Callable[[Sequence[Mapping[str, str]]], Iterable[tuple[str, Float[np.ndarray, "P E"]]]]
    """From groups of sequences by id, each of at most `MAX_RESIDUES` residues, to their patches: group after group,
    in any order within a group."""


class _ProfileItems(Dataset):
    """The proteins of all groups with their patches, which whoever asks for one computes."""

    def __init__(self, groups: Sequence[Mapping[str, str]]):
        self.items = [item for group in groups for item in group.items()]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> tuple[str, np.ndarray]:
        protein, sequence = self.items[place]
        return protein, profile_patches(sequence)


def _start_worker(worker: int) -> None:
    """Keep a worker to one core, and have the kernel kill it if its parent is killed.

    A second thread of each would wait for its turn in a loop; an orphan would wait for ever, and hold the store's lock.
    """
    threadpool_limits(1)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _profile(groups: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, np.ndarray]]:
    """Compute on all cores, where a process can be forked and the work is worth it."""
    items = _ProfileItems(groups)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    workers = min(cores, _MOST_WORKERS) if cores > 1 and len(items) >= _WORTH_WORKERS else 0
    init = _start_worker if workers else None
    for batch in DataLoader(items, batch_size=8, num_workers=workers, collate_fn=list, worker_init_fn=init):
        yield from batch


PROFILE = Embedder(StoreInfo("profile", VERSION, WIDTH), _profile)


def load_embedder(name: str, *, device: str = "auto", precision: str = "float32") -> Embedder:
    """Return `profile`, or the language model of a name of `MODELS`, of a folder, or of a Hub repository `owner/name`.

    `device` and `precision` are a language model's.
    """
    from ppi_lib.language_model import MODELS, LanguageModel, is_place

    if name == PROFILE.info.embedder:
        return PROFILE
    if not is_place(name):
        raise InputError(
            f"Embedder {name!r} is unknown; expected {PROFILE.info.embedder}, {', '.join(MODELS)}, the folder of a "
            "language model, or a repository owner/name of the Hub. Embeddings that others made are imported with "
            "`ppi import`."
        )
    model = LanguageModel(name, device=device, precision=precision)
    return Embedder(model.info, lambda groups: chain.from_iterable(map(model.embed, groups)))


def _digests(sequences: Mapping[str, str]) -> dict[str, str]:
    return {protein: hashlib.sha256(s.encode()).hexdigest()[:16] for protein, s in sequences.items()}


def _missing(store: PatchStore, digests: Mapping[str, str]) -> list[str]:
    """Return the proteins that `store` lacks, or raise `InputError` if it has some with another sequence."""
    changed = [p for p in digests if p in store and store.sequence_digest(p) != digests[p]]
    if changed:
        raise InputError(
            f"{store.path}: holds {len(changed)} of the proteins with another sequence, e.g. "
            f"{', '.join(changed[:5])}. Choose another folder, or delete this one."
        )
    return [protein for protein in digests if protein not in store]


def _choose(name: str | None, held: PatchStore | None, wanted: StoreInfo | None, missing: int, device, precision):
    """Load the embedder asked for, else that of the store, of the model, or `profile`, whichever is there."""
    known = held.info if held is not None else wanted or PROFILE.info
    try:
        return load_embedder(name or known.embedder, device=device, precision=precision or known.precision)
    except InputError as error:
        if name:
            raise
        lacking = f"{held.path}: lacks {missing} proteins. It" if held is not None else "The model's store"
        raise InputError(
            f"{lacking} holds embeddings of {known}: {error} Or give a folder that has them all (--store), or the "
            "model that made them (--embedder)."
        ) from error


def _require(found: StoreInfo, wanted: StoreInfo | None, place: str) -> None:
    if wanted is not None and found != wanted:
        raise InputError(
            f"{place}: embeddings of {found}; the model reads {wanted}. Give the embedder or the store that the model "
            "was trained with, or train it again."
        )


def embed_proteins(
    proteins: Proteins,
    out: str | Path,
    *,
    embedder: str | Embedder | None = None,
    wanted: StoreInfo | None = None,
    device: str = "auto",
    precision: str | None = None,
    progress: bool = True,
) -> PatchStore:
    """Embed every protein that `out` does not hold yet, and return the store.

    A protein is read up to `MAX_RESIDUES` residues; `proteins.notes` says which are longer. `embedder` is as for
    `load_embedder`, by default that of the store if there is one, else that of `wanted`, else `profile`; it isn't
    loaded if no protein is missing. `wanted` is what a model reads: other embeddings are refused before any work.
    """
    sequences = {protein: sequence[:MAX_RESIDUES] for protein, sequence in proteins.sequences.items()}
    digests = _digests(sequences)
    held = PatchStore(out) if (Path(out) / "store.json").exists() else None
    missing = list(sequences) if held is None else _missing(held, digests)
    if held is not None:
        _require(held.info, wanted, str(held.path))
        if not missing and embedder in (None, held.info.embedder) and precision in (None, held.info.precision):
            if held.finished != held.shards:  # the last writer was killed just before its end
                StoreWriter(out, held.info).finish()
            return held
    if not isinstance(embedder, Embedder):
        embedder = _choose(embedder, held, wanted, len(missing), device, precision)
    _require(embedder.info, wanted, "The embedder")
    with StoreWriter(out, embedder.info) as writer:
        todo = {protein: sequences[protein] for protein in _missing(writer.done, digests)}
        total = sum(map(len, todo.values()))
        with tqdm(total=total, desc="embed", unit="residue", unit_scale=True, disable=not (progress and todo)) as bar:
            for protein, patches in _in_order(embedder, todo, lambda protein: bar.update(len(todo[protein]))):
                writer.add(protein, patches, len(todo[protein]), digests[protein])
    return PatchStore(out)


def _in_order(
    embedder: Embedder, sequences: Mapping[str, str], tell: Callable[[str], object]
) -> Iterator[tuple[str, np.ndarray]]:
    """Embed group by group, `tell` of each protein that is done, and yield each group in the order of the input."""
    ids = list(sequences)
    plan = plan_groups([-(-len(sequence) // embedder.info.patch) for sequence in sequences.values()])
    groups = [{protein: sequences[protein] for protein in ids[group]} for group in plan]
    found = iter(embedder.embed(groups))
    for group in groups:
        done = {}
        for protein, patches in islice(found, len(group)):
            done[protein] = patches
            tell(protein)
        yield from ((protein, done[protein]) for protein in group)
