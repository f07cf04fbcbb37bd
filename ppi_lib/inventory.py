"""A patch store described, checked byte for byte, and merged with another."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ppi_lib.errors import InputError
from ppi_lib.shards import index_paths, shard_problems
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter

_SAMPLE = 200


class Description(NamedTuple):
    """What a store holds."""

    info: StoreInfo
    made_by: str | None
    """Version of the ppi_lib that began it."""
    proteins: int
    residues: int
    patches: int
    shards: int
    bytes: int
    """Of all shards on disk."""
    residue_bytes: int
    """What the same proteins would take as float32 residue embeddings."""
    mean: float
    """Root mean square, over the channels, of their means, in up to 200 proteins."""
    deviation: float
    """The same of their standard deviations."""
    fingerprint: str
    """Hash of all embeddings, whatever the order of the proteins."""


def describe_store(path: str | Path) -> Description:
    """Describe a store; of the embeddings themselves only up to 200 proteins are read."""
    store = PatchStore(path)
    if not len(store):
        raise InputError(f"{path}: an empty store. Embed proteins into it first, with `ppi embed`.")
    lengths = [store.length(protein) for protein in store.ids]
    mean, deviation = store.moments(store.ids[:: -(-len(store) // _SAMPLE)])
    return Description(
        info=store.info,
        made_by=store.made_by,
        proteins=len(store),
        residues=sum(lengths),
        patches=sum(-(-length // store.info.patch) for length in lengths),
        shards=store.shards,
        bytes=sum(file.stat().st_size for file in store.path.glob("shard-*")),
        residue_bytes=4 * store.info.width * sum(lengths),
        mean=mean.square().mean().sqrt().item(),
        deviation=deviation.square().mean().sqrt().item(),
        fingerprint=store.fingerprint(store.ids),
    )


def check_store(path: str | Path) -> list[str]:
    """Read every byte of a store and return what is wrong with it, a line for each thing; nothing if it is whole."""
    path = Path(path)
    indexes = index_paths(path)
    if not (path / "store.json").is_file():
        PatchStore(path)  # says that this is none
    try:
        store = PatchStore(path)
        patch, finished, problems = store.info.patch, store.finished, []
    except InputError as error:
        patch, finished, problems = StoreInfo._field_defaults["patch"], 0, [str(error)]
    numbers = range(max(finished, max(indexes, default=-1) + 1))
    problems += [f"shard-{number:05d} is missing" for number in numbers if number not in indexes]
    for index in indexes.values():
        problems += shard_problems(index, patch)
    return problems


def merge_stores(stores: Sequence[PatchStore], out: str | Path) -> PatchStore:
    """Copy the proteins of several stores of one embedder into `out`; those that are in more than one stand once.

    Raises `InputError` if the embedders differ, or if two stores hold a protein with other numbers.
    """
    first, *others = stores
    for store in others:
        if store.info != first.info:
            raise InputError(
                f"{store.path}: made by {store.info}; {first.path} by {first.info}. Only stores of one embedder can "
                "be merged: embed the proteins of one of them again."
            )
    with StoreWriter(out, first.info) as writer:
        holders = {protein: writer.done for protein in writer.done.ids}
        todo = []
        for store in stores:
            new = [protein for protein in store.ids if protein not in holders]
            todo += [(store, protein) for protein in new]
            _require_same(store, holders)
            holders |= dict.fromkeys(new, store)
        for store, protein in todo:
            writer.add(protein, store.rows(protein), store.length(protein), store.sequence_digest(protein))
    return PatchStore(out)


def _require_same(store: PatchStore, holders: dict[str, PatchStore]) -> None:
    """Raise `InputError` unless the proteins that `holders` have too are the same there."""
    shared = [protein for protein in store.ids if protein in holders]
    unlike = [p for p in shared if store.fingerprint([p]) != holders[p].fingerprint([p])]
    if unlike:
        raise InputError(
            f"{store.path}: {len(unlike)} proteins have other embeddings than in {holders[unlike[0]].path}, e.g. "
            f"{', '.join(unlike[:5])}. Embed them again from the sequences that hold."
        )
