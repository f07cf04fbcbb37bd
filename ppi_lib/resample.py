"""Weighted metrics of ranked pairs, and how often drawn proteins make a pair count.

Pairs that share a protein aren't independent, so intervals come from drawing proteins, not pairs: each draw
takes the proteins with replacement, and a pair counts as often as its two proteins came up together. This is
the pigeonhole bootstrap (Owen 2007, Ann Appl Stat 1:386), the resampling form of clustering in two ways
(Cameron, Gelbach and Miller 2011, J Bus Econ Stat 29:238).

The choice worth knowing: pairs are sorted by score once, and a draw only changes their weights, so a draw is
a few cumulative sums. Equal scores are one group, which makes ties exact. `evaluate` checks what comes in.

Shape letters: B pairs, N proteins, S draws, G groups of equal score.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ppi_lib.errors import InputError

_CHUNK_NUMBERS = 2_000_000


class Interval(NamedTuple):
    """A value on all pairs and its percentile interval over the draws."""

    value: float
    low: float
    high: float
    draws: int
    """Draws the interval rests on; those that lost one class are left out."""


class Ranking(NamedTuple):
    """Pairs from the highest score to the lowest."""

    labels: np.ndarray
    probabilities: np.ndarray
    first: np.ndarray
    """Protein numbers `(B,)`, as `second`."""
    second: np.ndarray
    starts: np.ndarray
    """Where each group of equal scores begins `(G,)`."""


def rank_pairs(y, p, first, second) -> Ranking:
    order = np.argsort(-p, kind="stable")
    starts = np.append(0, np.flatnonzero(np.diff(p[order])) + 1)
    return Ranking(y[order], p[order], first[order], second[order], starts)


def draw_counts(proteins: int, pairs: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each protein was drawn, `(S, N)`: first a row of ones, then the draws in chunks."""
    yield np.ones((1, proteins))
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_NUMBERS // max(pairs, proteins))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        yield rng.multinomial(proteins, np.full(proteins, 1 / proteins), size=size).astype(float)


def pair_weights(ranking: Ranking, counts: np.ndarray) -> np.ndarray:
    """Weights `(S, B)`: the product of both counts, and the one count where a protein meets itself."""
    weights = counts[:, ranking.first]
    other = counts[:, ranking.second]
    other[:, ranking.first == ranking.second] = 1
    return np.multiply(weights, other, out=weights)


def rank_metrics(ranking: Ranking, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted AUROC and average precision of each draw; NaN where one class has no weight."""
    grouped = np.add.reduceat(weights, ranking.starts, axis=1)
    positive = np.add.reduceat(weights * ranking.labels, ranking.starts, axis=1)
    above, above_positive = np.cumsum(grouped, axis=1), np.cumsum(positive, axis=1)
    total, total_positive = above[:, -1:], above_positive[:, -1:]
    total_negative = total - total_positive
    # negatives below a group, and half of those in it
    beaten = total_negative - (above - above_positive) + (grouped - positive) / 2
    # the first weights are whole numbers, so 1 only replaces 0, where `positive` is 0 as well
    precision = above_positive / np.maximum(above, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (positive * beaten).sum(axis=1) / (total_positive * total_negative)[:, 0]
        auprc = (positive * precision).sum(axis=1) / total_positive[:, 0]
    lost = (total_positive * total_negative)[:, 0] == 0
    return {"auroc": np.where(lost, np.nan, auroc), "auprc": np.where(lost, np.nan, auprc)}


def percentile_intervals(rows: list[dict[str, np.ndarray]], level: float) -> dict[str, Interval]:
    """Turn the value in front and the draws after it into intervals, without the draws that lost a class."""
    table = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    kept = ~np.isnan(table["auroc"][1:])
    if not kept.any():
        raise InputError("No draw of proteins kept both classes: there are too few proteins for an interval.")
    tails = (1 - level) / 2, (1 + level) / 2
    return {
        name: Interval(float(values[0]), *map(float, np.quantile(values[1:][kept], tails)), int(kept.sum()))
        for name, values in table.items()
    }
