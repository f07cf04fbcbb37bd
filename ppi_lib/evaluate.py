"""Metrics, intervals and curves: labels and probabilities in, named tuples out.

A pair is called positive when its probability is at least the threshold. Intervals draw proteins, not pairs:
`resample` says how and why. The calibration error is biased upwards in every draw, so its interval can lie
above its value. What holds for parts of the pairs is in `strata`, what holds if some are left undecided in `selective`.

Shape letters: B pairs, N proteins, S draws, K predictors.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from ppi_lib.errors import InputError
from ppi_lib.per_protein import per_protein_mcc, sort_cells
from ppi_lib.rates import check_scores, check_threshold, divide, matthews
from ppi_lib.resample import (
    Interval,
    Ranking,
    draw_counts,
    draw_pairs,
    pair_weights,
    percentile_intervals,
    rank_metrics,
    rank_pairs,
)

BINS = 15
_CURVE_POINTS = 1000


class Metrics(NamedTuple):
    """What a set of scored pairs amounts to; all but `pairs` and `threshold` lie in 0..1 (MCC in -1..1)."""

    auroc: float
    auprc: float
    """Average precision; `prevalence` is what chance gives."""
    auprc_1_10: float
    """The same as if one pair in eleven were positive: negatives weigh more, none is drawn. It rests on the few
    negatives that rank first, so with fewer than a thousand it comes out too high, and its interval misses the truth
    too often (`benchmarks/intervals.py`)."""
    precision_at_100: float
    """Share of positives among the 100 pairs ranked first, or among all if they are fewer."""
    recall_at_fdr_10: float
    """Highest recall at which at most a tenth of the pairs called is wrong; 0 if there is none."""
    prevalence: float
    accuracy: float
    f1: float
    precision: float
    recall: float
    mcc: float
    pp_mcc: float
    """MCC within a protein's pairs, averaged over proteins, see `per_protein`; NaN if the proteins weren't given."""
    brier: float
    ece: float
    """Expected calibration error in 15 bins of equal width (Guo et al. 2017, ICML)."""
    threshold: float
    pairs: int


class Curves(NamedTuple):
    """The points behind three plots."""

    roc: pd.DataFrame
    """`false_positive_rate`, `true_positive_rate`, `threshold`."""
    precision_recall: pd.DataFrame
    """`recall`, `precision`, `threshold`."""
    reliability: pd.DataFrame
    """`bin_low`, `bin_high`, `mean_probability`, `positive_share`, `pairs`; NaN if empty."""
    auroc: float
    auprc: float


def _bin_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the calibration bin of each probability; a bin holds its upper edge."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probabilities, side="left")


def _calibration_error(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.abs(np.bincount(_bin_of(p), weights=p - y, minlength=BINS)).sum() / len(y))


def best_threshold(labels, probabilities) -> float:
    """Return the threshold with the highest MCC, midway between two neighbouring scores.

    Choose it on validation pairs, and use it on test pairs. Of equals the highest is taken.
    """
    y, p = check_scores(labels, probabilities)
    order = np.argsort(-p, kind="stable")
    y, p = y[order], p[order]
    last = np.append(np.flatnonzero(np.diff(p)), len(p) - 1)
    tp = np.cumsum(y)[last]
    fp = last + 1 - tp
    best = int(np.argmax(matthews(tp, fp, y.sum() - tp, len(y) - y.sum() - fp)))
    upper, lower = p[last[best]], p[min(last[best] + 1, len(p) - 1)]
    middle = (upper + lower) / 2
    return float(middle if middle > lower else upper)


def compute_metrics(labels, probabilities, threshold: float, proteins_a=None, proteins_b=None) -> Metrics:
    """Return all metrics; the rates that need a decision take it at `threshold`, and `pp_mcc` needs the proteins."""
    y, p = check_scores(labels, probabilities)
    check_threshold(threshold)
    called, pp_mcc = p >= threshold, np.nan
    if proteins_a is not None:
        first, second, count = _number_proteins(proteins_a, proteins_b, len(y))
        cells = sort_cells(y, called, first, second, count)
        pp_mcc = float(per_protein_mcc(cells, np.ones((1, len(y))), np.ones((1, count)))[0])
    ranking = rank_pairs(y, p, *np.zeros((2, len(y)), dtype=int))
    ranked = {name: float(value[0]) for name, value in rank_metrics(ranking, np.ones((1, len(y)))).items()}
    precision, recall, f1, _ = sk.precision_recall_fscore_support(y, called, average="binary", zero_division=0)
    return Metrics(
        **ranked,
        prevalence=float(y.mean()),
        accuracy=float(sk.accuracy_score(y, called)),
        f1=float(f1),
        precision=float(precision),
        recall=float(recall),
        mcc=float(sk.matthews_corrcoef(y, called)),
        pp_mcc=pp_mcc,
        brier=float(np.mean((p - y) ** 2)),
        ece=_calibration_error(y, p),
        threshold=float(threshold),
        pairs=len(y),
    )


def _number_proteins(proteins_a, proteins_b, pairs: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the proteins of both sides as numbers, and how many there are."""
    a, b = np.asarray(proteins_a), np.asarray(proteins_b)
    for name, ids in (("proteins_a", a), ("proteins_b", b)):
        if ids.shape != (pairs,):
            raise InputError(f"{name} has shape {ids.shape}; expected ({pairs},), one protein per label.")
        if pd.isna(ids).any():
            place = int(pd.isna(ids).argmax())
            raise InputError(f"{name} has no protein at pair {place}; expected an id for each. Fill it in.")
    names, numbers = np.unique(np.concatenate([a, b]), return_inverse=True)
    return numbers[:pairs], numbers[pairs:], len(names)


def _summands(ranking: Ranking, threshold: float) -> np.ndarray:
    """Per pair `(B, 5 + BINS)`: the confusion table's cells, squared error, gap in its bin."""
    y, p = ranking.labels, ranking.probabilities
    called = (p >= threshold).astype(float)
    gaps = np.zeros((len(y), BINS))
    gaps[np.arange(len(y)), _bin_of(p)] = p - y
    cells = [called * y, called * (1 - y), (1 - called) * y, (1 - called) * (1 - y), (p - y) ** 2]
    return np.column_stack([*cells, gaps])


def _sum_metrics(weights: np.ndarray, summands: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted metrics that are functions of sums over pairs."""
    sums, total = weights @ summands, weights.sum(axis=1)
    tp, fp, fn, tn, squared = sums[:, :5].T
    return {
        "accuracy": divide(tp + tn, total),
        "f1": divide(2 * tp, 2 * tp + fp + fn),
        "precision": divide(tp, tp + fp),
        "recall": divide(tp, tp + fn),
        "mcc": matthews(tp, fp, fn, tn),
        "brier": divide(squared, total),
        "ece": divide(np.abs(sums[:, 5:]).sum(axis=1), total),
    }


def _check_bootstrap(draws: int, level: float) -> None:
    if draws < 1:
        raise InputError(f"draws is {draws}; expected at least 1, and 1000 for a figure.")
    if not 0 < level < 1:
        raise InputError(f"level is {level}; expected between 0 and 1, such as 0.95.")


def _rarer(y: np.ndarray) -> int:
    return int(min(y.sum(), len(y) - y.sum()))


def _sort_pairs(first, second, *columns) -> list[np.ndarray]:
    """Return all in the order of the proteins, so that the order in which pairs are given never matters."""
    order = np.lexsort((*columns, np.maximum(first, second), np.minimum(first, second)))
    return [column[order] for column in (first, second, *columns)]


def bootstrap_intervals(
    labels, probabilities, proteins_a, proteins_b, threshold: float, *, draws=1000, seed=0, level=0.95
) -> dict[str, Interval]:
    """Return the interval of each metric, keyed as the fields of `Metrics`, over drawn proteins."""
    _check_bootstrap(draws, level)
    y, p = check_scores(labels, probabilities)
    check_threshold(threshold)
    first, second, proteins = _number_proteins(proteins_a, proteins_b, len(y))
    first, second, y, p = _sort_pairs(first, second, y, p)
    ranking = rank_pairs(y, p, first, second)
    summands, called = _summands(ranking, threshold), ranking.probabilities >= threshold
    cells = sort_cells(ranking.labels, called, ranking.first, ranking.second, proteins)

    def measure(weights, counts):
        pp_mcc = per_protein_mcc(cells, weights, counts)
        return {**rank_metrics(ranking, weights), **_sum_metrics(weights, summands), "pp_mcc": pp_mcc}

    rows = [measure(pair_weights(ranking, counts), counts) for counts in draw_counts(proteins, len(y), draws, seed)]
    drawn = (weights[:, ranking.order] for weights in draw_pairs(len(y), draws, seed))
    own = [measure(weights, np.ones((len(weights), proteins))) for weights in drawn]
    return percentile_intervals(rows, own, level, _rarer(y))


def bootstrap_difference(
    labels, probabilities_1, probabilities_2, proteins_a, proteins_b, *, draws=1000, seed=0, level=0.95
) -> dict[str, Interval]:
    """Return the intervals of the metrics that rank, of 1 minus those of 2, both on the same draws.

    Either may be several predictors' `(K, B)`, such as those of K seeds: then it is the mean of their metrics.
    """
    _check_bootstrap(draws, level)
    sides = [[check_scores(labels, one) for one in np.atleast_2d(p)] for p in (probabilities_1, probabilities_2)]
    shares = [sign / len(side) for sign, side in zip((1, -1), sides, strict=True) for _ in side]
    y = sides[0][0][0]
    first, second, proteins = _number_proteins(proteins_a, proteins_b, len(y))
    first, second, y, *scores = _sort_pairs(first, second, y, *(p for side in sides for _, p in side))
    rankings = [rank_pairs(y, p, first, second) for p in scores]

    def difference(*weights):
        found = list(map(rank_metrics, rankings, weights))
        return {name: sum(share * one[name] for share, one in zip(shares, found, strict=True)) for name in found[0]}

    counted = draw_counts(proteins, len(y), draws, seed)
    rows = [difference(*(pair_weights(ranking, counts) for ranking in rankings)) for counts in counted]
    drawn = draw_pairs(len(y), draws, seed)
    own = [difference(*(weights[:, ranking.order] for ranking in rankings)) for weights in drawn]
    return percentile_intervals(rows, own, level, _rarer(y))


def describe_difference(one: str, two: str, difference: Interval, metric: str = "AUROC") -> str:
    """Return in a sentence which of two predictors is better, or that it is a tie since the interval holds zero."""
    numbers = f"{metric} {difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    if difference.low <= 0 <= difference.high:
        return f"{one} and {two}: a tie ({numbers})."
    return f"{one} is {'better' if difference.value > 0 else 'worse'} than {two} ({numbers})."


def _thin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the indices of at most 1,000 points, evenly spaced along the curve, both ends among them."""
    along = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    return np.unique(np.searchsorted(along, np.linspace(0, along[-1], _CURVE_POINTS - 1)).clip(0, len(x) - 1))


def _reliability(y: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    bins, edges = _bin_of(p), np.linspace(0, 1, BINS + 1)
    pairs = np.bincount(bins, minlength=BINS)
    table = pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:]})
    for name, values in (("mean_probability", p), ("positive_share", y)):
        table[name] = np.bincount(bins, weights=values, minlength=BINS) / np.where(pairs, pairs, np.nan)
    return table.assign(pairs=pairs)


def compute_curves(labels, probabilities) -> Curves:
    """Return the ROC, precision-recall and reliability curves; the first two thinned to 1,000 points."""
    y, p = check_scores(labels, probabilities)
    fpr, tpr, cut = sk.roc_curve(y, p)
    precision, recall, cut_pr = sk.precision_recall_curve(y, p)
    kept, kept_pr = _thin(fpr, tpr), _thin(recall, precision)
    cut_pr = np.append(cut_pr, np.inf)
    return Curves(
        pd.DataFrame({"false_positive_rate": fpr, "true_positive_rate": tpr, "threshold": cut}).iloc[kept],
        pd.DataFrame({"recall": recall, "precision": precision, "threshold": cut_pr}).iloc[kept_pr],
        _reliability(y, p),
        float(sk.roc_auc_score(y, p)),
        float(sk.average_precision_score(y, p)),
    )
