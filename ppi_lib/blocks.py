"""The blocks of an all-against-all screening: which pairs each has, which are kept, and the file that holds them.

A set of proteins is cut into bands; a block is the pairs of one band with another. What is kept of a block depends
on that block alone, and its file is written in one step, so blocks can be computed anywhere, in any order and twice,
and a file that is there is a block that is done.

Shape letters: M proteins of one band, N of another, B pairs kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float, Float64, Int

from ppi_lib.calibrate import Calibration
from ppi_lib.factors import Factors, join_factors
from ppi_lib.files import write_atomically
from ppi_lib.scorer import PairScorer

_TILE = {"cpu": 32, "cuda": 256}
"""Proteins against as many that are scored at once: a chunk of `scorer`, or what keeps a GPU busy."""
_SQUARE = 16
"""Where a product of a new size has to be set up first, a tile is scored by whole squares of this edge."""


class Block(NamedTuple):
    """The pairs of a band of the first set with a band of the second."""

    row: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is screened and what is kept."""

    proteins_a: tuple[str, ...]
    proteins_b: tuple[str, ...] | None
    """None: `proteins_a` among themselves, each unordered pair once."""
    self_pairs: bool
    """Whether a protein is paired with itself."""
    top_k: int | None
    """Keep the best partners of each protein; between two sets, of each of `proteins_a`."""
    threshold: float | None
    """Keep pairs of at least this probability. With neither this nor `top_k` all are kept."""
    band: int
    """Proteins of a band."""
    calibration: Calibration
    """From logits to probabilities."""
    prevalence: float | None
    """Share of positives that the probabilities are for; None: as among the pairs of the calibration."""

    def probabilities(self, logits: Float[np.ndarray, "*B"]) -> Float64[np.ndarray, "*B"]:
        return self.calibration.probabilities(logits, prevalence=self.prevalence)

    @property
    def within(self) -> bool:
        return self.proteins_b is None

    def bands(self, side: str) -> int:
        """Return how many bands the first (`a`) or second (`b`) set has."""
        return -(-len(self._set(side)) // self.band)

    def band_of(self, side: str, number: int) -> tuple[str, ...]:
        """Return the proteins of a band."""
        return self._set(side)[number * self.band : (number + 1) * self.band]

    def _set(self, side: str) -> tuple[str, ...]:
        return self.proteins_a if side == "a" or self.within else self.proteins_b

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks; within one set those on and above the diagonal."""
        columns = self.bands("b")
        for row in range(self.bands("a")):
            yield from (Block(row, column) for column in range(row if self.within else 0, columns))

    def names_of(self, block: Block) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the proteins of a block's two bands."""
        return self.band_of("a", block.row), self.band_of("b", block.column)

    def pairs_of(self, block: Block) -> Bool[np.ndarray, "M N"]:
        """Say which combinations of a block's proteins are pairs to score."""
        a, b = (np.array(names, dtype=object) for names in self.names_of(block))
        if self.within and block.row == block.column:
            return np.triu(np.ones((len(a), len(b)), dtype=bool), 0 if self.self_pairs else 1)
        if self.within or self.self_pairs:
            return np.ones((len(a), len(b)), dtype=bool)
        return a[:, None] != b

    def count_pairs(self, block: Block) -> int:
        """Return how many pairs a block has."""
        a, b = self.names_of(block)
        if self.within and block.row == block.column:
            return len(a) * (len(a) + 1) // 2 - (0 if self.self_pairs else len(a))
        return len(a) * len(b) - (0 if self.within or self.self_pairs else len({*a} & {*b}))

    @property
    def pairs(self) -> int:
        """How many pairs are scored."""
        a = len(self.proteins_a)
        if self.within:
            return a * (a + 1) // 2 - (0 if self.self_pairs else a)
        return a * len(self.proteins_b) - (0 if self.self_pairs else len({*self.proteins_a} & {*self.proteins_b}))


class Kept(NamedTuple):
    """What is kept of a block, sorted by `a` and `b`."""

    a: Int[np.ndarray, " B"]
    """Place in the band."""
    b: Int[np.ndarray, " B"]
    logits: Float[np.ndarray, " B"]


def score_block(
    scorer: PairScorer, a: Factors, b: Factors, wanted: Bool[np.ndarray, "M N"]
) -> Float[np.ndarray, "M N"]:
    """Return the logits of the wanted pairs of two bands, tile by tile, and NaN for all others."""
    on_cpu = scorer.device.type == "cpu"
    tiles, edge = [], _TILE["cpu" if on_cpu else "cuda"]
    square = 1 if on_cpu and scorer.dtype == torch.float32 else _SQUARE
    rows, columns = (np.array_split(np.arange(size), -(-size // edge)) for size in wanted.shape)
    for row, column in product(rows, columns):
        i, j = np.nonzero(_widen(wanted[np.ix_(row, column)], square))
        if len(i):
            tiles.append((i + row[0], j + column[0]))
    chunks = [(torch.from_numpy(i), torch.from_numpy(j + len(a.proteins))) for i, j in tiles]
    logits = np.full(wanted.shape, np.nan, dtype=np.float32)
    for tile, scores in zip(tiles, scorer.score_all(join_factors(a, b), chunks), strict=True):
        logits[tile] = scores.numpy()
    logits[~wanted] = np.nan
    return logits


def _widen(wanted: Bool[np.ndarray, "M N"], square: int) -> Bool[np.ndarray, "M N"]:
    """Take whole squares, so that the groups of a triangle have few sizes."""
    rows, columns = (np.arange(size) // square for size in wanted.shape)
    squares = np.zeros((rows[-1] + 1, columns[-1] + 1), dtype=bool)
    np.logical_or.at(squares, (rows[:, None], columns), wanted)
    return squares[rows[:, None], columns]


def _best_of_rows(logits: Float[np.ndarray, "M N"], count: int) -> Bool[np.ndarray, "M N"]:
    """Say which are among the `count` largest of their row; NaN never is, and a tie with the last one always."""
    if count >= logits.shape[1]:
        return ~np.isnan(logits)
    filled = np.where(np.isnan(logits), -np.inf, logits)
    last = np.partition(filled, -count, axis=1)[:, -count, None]
    return (filled >= last) & ~np.isnan(logits)


def keep(plan: Plan, block: Block, logits: Float[np.ndarray, "M N"]) -> Kept:
    """Choose what of a block can be in the result."""
    mask = ~np.isnan(logits)
    if plan.threshold is not None:
        mask = plan.probabilities(logits) >= plan.threshold  # NaN is not
    if plan.top_k is not None and plan.within and block.row == block.column:
        whole = np.where(mask, logits, logits.T)
        best = _best_of_rows(whole, plan.top_k)
        mask &= best | best.T
    elif plan.top_k is not None:
        mask = _best_of_rows(logits, plan.top_k) | _best_of_rows(logits.T, plan.top_k).T
    a, b = np.nonzero(mask)
    return Kept(a.astype(np.int32), b.astype(np.int32), logits[a, b])


def part_path(folder: Path, block: Block) -> Path:
    return folder / f"part-{block.row:06d}-{block.column:06d}.parquet"


def write_part(folder: Path, block: Block, kept: Kept) -> None:
    """Write a block's file, whole or not at all."""
    table = pa.table(kept._asdict())
    write_atomically(part_path(folder, block), lambda path: pq.write_table(table, path))


def read_part(folder: Path, block: Block) -> Kept:
    table = pq.read_table(part_path(folder, block))
    return Kept(*(table[name].to_numpy() for name in Kept._fields))


def part_rows(folder: Path, block: Block) -> int:
    """Return how many pairs a block's file holds, without reading them."""
    return pq.read_metadata(part_path(folder, block)).num_rows
