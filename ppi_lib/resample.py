"""Weighted metrics of ranked pairs, and how often drawn proteins make a pair count.

Pairs that share a protein aren't independent, so intervals come from drawing proteins, not pairs: each draw
takes the proteins with replacement, and a pair counts as often as its two proteins came up together. This is
the pigeonhole bootstrap (Owen 2007, Ann Appl Stat 1:386), the resampling form of clustering in two ways
(Cameron, Gelbach and Miller 2011, J Bus Econ Stat 29:238).

What two pairs have in common by a shared protein it counts once, as it should; what is a pair's own it counts
three times, since the product of two counts of mean and variance 1 has variance 3. So pairs are drawn as well,
which counts that part once and nothing else, and twice their variance is taken off again: without that, the 95%
interval of independent pairs held the truth in 99.9% of the trials of `benchmarks/intervals.py`.

The choice worth knowing: pairs are sorted by score once, and a draw only changes their weights, so a draw is
a few cumulative sums. Equal scores are one group, which makes ties exact. `evaluate` checks what comes in.

Shape letters: B pairs, N proteins, S draws, G groups of equal score.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ppi_lib.errors import InputError

TOP = 100
"""How many of the pairs ranked first `precision_at_100` looks at."""
FALSE_DISCOVERY_RATE = 0.1
RARE = 1 / 11
"""Share of positives of one to ten."""
FEW = 10
_CHUNK_NUMBERS = 100_000


class Interval(NamedTuple):
    """A value on all pairs and its percentile interval over the draws."""

    value: float
    low: float
    high: float
    draws: int
    """Draws the interval rests on; those that lost one class are left out."""
    rarer: int
    """Pairs of the rarer class."""

    def format(self) -> str:
        """Return `0.674 [0.658, 0.688]`, and a warning where a class has fewer than ten pairs."""
        few = f" (only {self.rarer} pairs of one class: the interval is a guess)" if self.rarer < FEW else ""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]{few}"


class Ranking(NamedTuple):
    """Pairs from the highest score to the lowest."""

    labels: np.ndarray
    probabilities: np.ndarray
    first: np.ndarray
    """Protein numbers `(B,)`, as `second`."""
    second: np.ndarray
    starts: np.ndarray
    """Where each group of equal scores begins `(G,)`."""
    order: np.ndarray
    """The place at which each pair was given `(B,)`."""


def rank_pairs(y, p, first, second) -> Ranking:
    order = np.argsort(-p, kind="stable")
    starts = np.append(0, np.flatnonzero(np.diff(p[order])) + 1)
    return Ranking(y[order], p[order], first[order], second[order], starts, order)


def draw_counts(proteins: int, pairs: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each protein was drawn, `(S, N)`: first a row of ones, then the draws in chunks."""
    yield np.ones((1, proteins))
    rng = np.random.default_rng(seed)
    for size in _chunks(max(pairs, proteins), draws):
        yield rng.multinomial(proteins, np.full(proteins, 1 / proteins), size=size).astype(float)


def draw_pairs(pairs: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each pair counts where pairs are drawn by themselves, `(S, B)`, in chunks."""
    rng = np.random.default_rng((seed, 1))
    for size in _chunks(pairs, draws):
        yield rng.poisson(1, (size, pairs)).astype(float)


def _chunks(width: int, draws: int) -> Iterator[int]:
    chunk = max(1, _CHUNK_NUMBERS // width)
    for start in range(0, draws, chunk):
        yield min(chunk, draws - start)


def pair_weights(ranking: Ranking, counts: np.ndarray) -> np.ndarray:
    """Weights `(S, B)`: the product of both counts, and the one count where a protein meets itself."""
    weights = counts[:, ranking.first]
    other = counts[:, ranking.second]
    other[:, ranking.first == ranking.second] = 1
    return np.multiply(weights, other, out=weights)


def rank_metrics(ranking: Ranking, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted metrics of the ranking, of each draw `(S,)`; NaN where one class has no weight."""
    grouped = np.add.reduceat(weights, ranking.starts, axis=1)
    positive = np.add.reduceat(weights * ranking.labels, ranking.starts, axis=1)
    above, above_positive = np.cumsum(grouped, axis=1), np.cumsum(positive, axis=1)
    above_negative = above - above_positive
    total_positive, total_negative = above_positive[:, -1:], above_negative[:, -1:]
    lost = (total_positive * total_negative)[:, 0] == 0
    # the weights are whole numbers, so 1 only replaces 0, where `positive` is 0 as well
    total_positive, total_negative = np.maximum(total_positive, 1), np.maximum(total_negative, 1)
    recall = above_positive / total_positive
    found = positive / total_positive
    precision = above_positive / np.maximum(above, 1)
    # as if negatives had the weight that makes positives as rare as `RARE`
    rare = recall * RARE + above_negative / total_negative * (1 - RARE)
    # negatives below a group, and half of those in it
    beaten = 1 - (above_negative - (grouped - positive) / 2) / total_negative
    values = {
        "auroc": (found * beaten).sum(axis=1),
        "auprc": (found * precision).sum(axis=1),
        "auprc_1_10": (found * recall * RARE / np.where(rare > 0, rare, 1)).sum(axis=1),
        "precision_at_100": _top_precision(grouped, positive, above, above_positive),
        "recall_at_fdr_10": np.where(precision >= 1 - FALSE_DISCOVERY_RATE - 1e-12, recall, 0).max(axis=1),
    }
    return {name: np.where(lost, np.nan, value) for name, value in values.items()}


def _top_precision(grouped, positive, above, above_positive) -> np.ndarray:
    """Share of positives among the first `TOP` pairs, or all if there are fewer; of a group that is cut, its share."""
    wanted = np.minimum(TOP, above[:, -1])
    rows, last = np.arange(len(above)), np.argmax(above >= wanted[:, None], axis=1)
    inside = wanted - (above - grouped)[rows, last]
    share = positive[rows, last] / np.maximum(grouped[rows, last], 1)
    return ((above_positive - positive)[rows, last] + inside * share) / np.maximum(wanted, 1)


def _own_share(of_proteins: np.ndarray, of_pairs: np.ndarray) -> float:
    """Return by which factor intervals are narrowed, as the module's docstring says."""
    variance, own = np.nanvar(of_proteins), np.nanvar(of_pairs)
    if not variance > 0 or own >= variance:
        return 1.0
    return float(np.sqrt(max(variance - 2 * own, own) / variance))


def percentile_intervals(
    rows: list[dict[str, np.ndarray]], pair_rows: list[dict[str, np.ndarray]], level: float, rarer: int
) -> dict[str, Interval]:
    """Turn the value in front and the draws of proteins after it into intervals, narrowed by the draws of pairs.

    Draws that lost a class are left out; a value that is NaN has no interval.
    """
    table, pairs = (
        {name: np.concatenate([row[name] for row in part]) for name in rows[0]} for part in (rows, pair_rows)
    )
    kept = ~np.isnan(table["auroc"][1:])
    if not kept.any():
        raise InputError("No draw of proteins kept both classes: there are too few proteins for an interval.")
    tails = (1 - level) / 2, (1 + level) / 2
    intervals = {}
    for name, values in table.items():
        drawn = values[1:][kept]
        value, drawn = float(values[0]), drawn[~np.isnan(drawn)]
        ends = (np.nan, np.nan)
        if not np.isnan(value) and len(drawn):
            ends = value + _own_share(drawn, pairs[name]) * (np.quantile(drawn, tails) - value)
        intervals[name] = Interval(value, *map(float, ends), len(drawn), rarer)
    return intervals
