"""The files of all blocks to one Parquet table, with the rank of each partner within both proteins.

Two passes, each over files: first, band by band, every protein's partners are put in order and the ranks written
beside the parts; then, block by block, the pairs that stay are written with both ranks. In memory there is one band's
partners, never all pairs. What was done before a stop is not done again, or gives the same.

Shape letters: B pairs.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from ppi_lib.blocks import Block, Kept, Plan, part_rows, read_part
from ppi_lib.files import write_atomically

COLUMNS = ("protein_a", "protein_b", "probability", "logit", "rank_in_a", "rank_in_b")
_NAME = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(list(zip(COLUMNS, (_NAME, _NAME, pa.float32(), pa.float32(), pa.int32(), pa.int32()), strict=True)))


class _Role(NamedTuple):
    """A block, and the side of its pairs on which a band's proteins stand."""

    block: Block
    side: str


def _roles(plan: Plan, side: str, number: int) -> list[_Role]:
    """Return where the proteins of a band stand, in a fixed order."""
    if not plan.within:
        others = range(plan.bands("b" if side == "a" else "a"))
        return [_Role(Block(number, other) if side == "a" else Block(other, number), side) for other in others]
    above = [_Role(Block(row, number), "b") for row in range(number + 1)]
    return above + [_Role(Block(number, column), "a") for column in range(number, plan.bands("a"))]


def _rank_path(folder: Path, side: str, number: int) -> Path:
    return folder / f"ranks-{side}-{number:06d}.npy"


def _is_self(plan: Plan, block: Block, kept: Kept) -> Bool[np.ndarray, " B"]:
    """Say which pairs are a protein with itself, in a screening within one set."""
    return (kept.a == kept.b) & (plan.within and block.row == block.column)


def _rank_band(folder: Path, plan: Plan, side: str, number: int) -> None:
    """Write the rank of the partner, 1 for the best, of every kept pair in which a protein of this band stands.

    A protein paired with itself has itself as a partner once; the second time it stands behind all others.
    """
    owners, partners, logits = [], [], []
    for block, role in _roles(plan, side, number):
        kept = read_part(folder, block)
        places, other = (kept.a, kept.b), block.column if role == "a" else block.row
        owner, partner = places if role == "a" else places[::-1]
        owners.append(owner)
        partners.append(partner.astype(np.int64) + other * plan.band)
        logits.append(np.where(_is_self(plan, block, kept) & (role == "b"), -np.inf, kept.logits))
    owner, partner, logit = (np.concatenate(parts) for parts in (owners, partners, logits))
    order = np.lexsort((partner, -logit, owner))
    starts = np.searchsorted(owner[order], np.arange(plan.band))
    ranks = np.empty(len(owner), dtype=np.int32)
    ranks[order] = np.arange(len(owner)) - starts[owner[order]] + 1
    write_atomically(_rank_path(folder, side, number), lambda path: _save(path, ranks))


def _save(path: Path, ranks: Int[np.ndarray, " B"]) -> None:
    with open(path, "wb") as file:  # np.save would add .npy to the temporary name
        np.save(file, ranks)


class _Ranks:
    """The ranks of all bands, read where they are needed."""

    def __init__(self, folder: Path, plan: Plan):
        self.folder, self.plan = folder, plan
        rows = {block: part_rows(folder, block) for block in plan.blocks()}
        self.slices: dict[tuple[str, int], dict[_Role, slice]] = {}
        for side in "a" if plan.within else "ab":
            for number in range(plan.bands(side)):
                roles = _roles(plan, side, number)
                ends = np.cumsum([rows[role.block] for role in roles]).tolist()
                spans = (slice(end - rows[role.block], end) for role, end in zip(roles, ends, strict=True))
                self.slices[side, number] = dict(zip(roles, spans, strict=True))

    def of(self, block: Block, side: str) -> Int[np.ndarray, " B"]:
        """Return the rank of the partner within the protein on one side of each pair of a block."""
        band = ("a" if self.plan.within else side, block["ab".index(side)])
        ranks = np.load(_rank_path(self.folder, *band), mmap_mode="r")
        return np.array(ranks[self.slices[band][_Role(block, side)]])


def _rows_of(plan: Plan, folder: Path, ranks: _Ranks, block: Block) -> pa.Table:
    """Return the pairs of a block that stay."""
    kept = read_part(folder, block)
    in_a, in_b = ranks.of(block, "a"), ranks.of(block, "b")
    in_b = np.where(_is_self(plan, block, kept), in_a, in_b)
    stay = np.ones(len(in_a), dtype=bool)
    if plan.top_k is not None:
        stay = in_a <= plan.top_k
        stay |= (in_b <= plan.top_k) & plan.within
    last = np.iinfo(np.int32).max if plan.top_k is None else plan.top_k
    names = [pa.array(names, pa.string()) for names in plan.names_of(block)]
    columns = [
        *(pa.DictionaryArray.from_arrays(pa.array(place[stay]), n) for place, n in zip(kept[:2], names, strict=True)),
        pa.array(plan.probabilities(kept.logits[stay])).cast(pa.float32()),
        pa.array(kept.logits[stay]),
        *(pa.array(rank[stay], mask=rank[stay] > last) for rank in (in_a, in_b)),
    ]
    return pa.table(columns, names=COLUMNS)


def write_ranked(folder: Path, plan: Plan, provenance: dict, out: Path) -> None:
    """Rank what the blocks kept and write `out`, a row group for each block with pairs.

    Columns: `protein_a`, `protein_b`, `probability`, `logit`, `rank_in_a` (of protein_b among the partners of
    protein_a) and `rank_in_b`. With `top_k` a rank beyond it isn't known and is null.
    """
    for side in "a" if plan.within else "ab":
        for number in range(plan.bands(side)):
            if not _rank_path(folder, side, number).exists():
                _rank_band(folder, plan, side, number)
    ranks, metadata = _Ranks(folder, plan), {"ppi_lib": json.dumps(provenance)}

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, _SCHEMA.with_metadata(metadata)) as writer:
            for block in plan.blocks():
                table = _rows_of(plan, folder, ranks, block)
                if len(table):
                    writer.write_table(table.cast(writer.schema))

    write_atomically(out, write)


def partners_of(table: pd.DataFrame, protein: str) -> pd.DataFrame:
    """Return a protein's pairs in a table of `COLUMNS`, best first, with its `partner` and the `rank` of the partner.

    Other columns stay as they are; `rank_in_partner` is the protein's own rank within its partner.
    """
    first = table[table["protein_a"] == protein]
    second = table[(table["protein_b"] == protein) & (table["protein_a"] != protein)]
    names = {"protein_b": "partner", "rank_in_a": "rank", "rank_in_b": "rank_in_partner"}
    other = {"protein_a": "partner", "rank_in_b": "rank", "rank_in_a": "rank_in_partner"}
    both = pd.concat([first.rename(columns=names), second.rename(columns=other)])
    both = both.drop(columns=["protein_a", "protein_b"], errors="ignore")
    front = ["partner", "rank", "rank_in_partner"]
    rest = [name for name in both if name not in front]
    return both.sort_values("logit", ascending=False, kind="stable").reset_index(drop=True)[front + rest]
