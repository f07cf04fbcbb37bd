"""Sequence to residue embeddings to a `PatchStore`.

`profile` (`profile.py`) needs no download. An embedder here is a name, a version, a width and a function
from one sequence to its patches.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from ppi_lib.errors import InputError
from ppi_lib.profile import VERSION, WIDTH, profile_patches
from ppi_lib.proteins import MAX_RESIDUES, Proteins
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter


class Embedder(NamedTuple):
    info: StoreInfo
    patches: Callable[[str], Float[np.ndarray, "P E"]]
    """From a sequence of at most `MAX_RESIDUES` residues to its patches."""


EMBEDDERS = {"profile": Embedder(StoreInfo("profile", VERSION, WIDTH), profile_patches)}


def check_embedder(wanted: StoreInfo) -> None:
    """Raise `InputError` unless there is an embedder that gives the embeddings `wanted`."""
    if wanted.embedder not in EMBEDDERS or EMBEDDERS[wanted.embedder].info != wanted:
        there = ", ".join(f"{e.info.embedder} version {e.info.version}" for e in EMBEDDERS.values())
        raise InputError(
            f"The model reads embeddings of {wanted.embedder} version {wanted.version}, width {wanted.width}; this "
            f"ppi_lib has {there}. Install the ppi_lib that trained the model, or train it again."
        )


def embed_proteins(
    proteins: Proteins, out: str | Path, *, embedder: str = "profile", progress: bool = True
) -> PatchStore:
    """Embed every protein that `out` does not hold yet, and return the store.

    A protein is read up to `MAX_RESIDUES` residues; `proteins.notes` says which are longer.
    """
    if embedder not in EMBEDDERS:
        raise InputError(f"Embedder {embedder!r} is unknown; there is {', '.join(EMBEDDERS)}.")
    info, patches_of = EMBEDDERS[embedder]
    sequences = {protein: sequence[:MAX_RESIDUES] for protein, sequence in proteins.sequences.items()}
    digests = {protein: hashlib.sha256(s.encode()).hexdigest()[:16] for protein, s in sequences.items()}
    with StoreWriter(out, info) as writer:
        changed = [p for p in sequences if p in writer.done and writer.done.sequence_digest(p) != digests[p]]
        if changed:
            raise InputError(
                f"{out}: holds {len(changed)} of the proteins with another sequence, e.g. {', '.join(changed[:5])}. "
                "Choose another folder, or delete this one."
            )
        todo = [protein for protein in sequences if protein not in writer.done]
        for protein in tqdm(todo, desc="embed", unit="protein", disable=not (progress and todo)):
            sequence = sequences[protein]
            writer.add(protein, patches_of(sequence), len(sequence), digests[protein])
    return PatchStore(out)
