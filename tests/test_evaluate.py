"""Metrics, intervals and curves: hand-worked cases, and scikit-learn where it has the number."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from ppi_lib import resample
from ppi_lib.errors import InputError
from ppi_lib.evaluate import (
    best_threshold,
    bootstrap_difference,
    bootstrap_intervals,
    compute_curves,
    compute_metrics,
    describe_difference,
)

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import intervals

RATES = ("accuracy", "f1", "precision", "recall", "mcc")


@pytest.fixture
def scored():
    """400 pairs of 30 proteins, many equal scores, some proteins with themselves."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 400).astype(float)
    probabilities = np.round(np.clip(0.25 * labels + 0.75 * rng.random(400), 0, 1), 1)
    a, b = (rng.integers(0, 30, 400).astype(str) for _ in range(2))
    return labels, probabilities, a, b


def _weighted(labels, probabilities, threshold, weights):
    """What scikit-learn says of weighted pairs."""
    called = probabilities >= threshold
    return {
        "auroc": sk.roc_auc_score(labels, probabilities, sample_weight=weights),
        "auprc": sk.average_precision_score(labels, probabilities, sample_weight=weights),
        "accuracy": sk.accuracy_score(labels, called, sample_weight=weights),
        "f1": sk.f1_score(labels, called, sample_weight=weights),
        "precision": sk.precision_score(labels, called, sample_weight=weights),
        "recall": sk.recall_score(labels, called, sample_weight=weights),
        "mcc": sk.matthews_corrcoef(labels, called, sample_weight=weights),
        "brier": sk.brier_score_loss(labels, probabilities, sample_weight=weights),
    }


def test_metrics_by_hand():
    result = compute_metrics([1, 0, 1, 0], [0.9, 0.8, 0.3, 0.1], 0.5)
    assert result.auroc == 0.75  # 3 of 4 positive-negative pairs in order
    assert result.auprc == pytest.approx((1 + 2 / 3) / 2)
    assert [getattr(result, name) for name in RATES] == [0.5, 0.5, 0.5, 0.5, 0.0]
    assert result.brier == pytest.approx((0.01 + 0.64 + 0.49 + 0.01) / 4)
    assert (result.prevalence, result.threshold, result.pairs) == (0.5, 0.5, 4)


def test_calibration_error_by_hand():
    # .81 and .82 share a bin, where their gaps of -.19 and +.82 cancel in part; .1 and .4 lie alone
    result = compute_metrics([1, 0, 0, 1], [0.81, 0.82, 0.1, 0.4], 0.5)
    assert result.ece == pytest.approx((0.63 + 0.1 + 0.6) / 4)


def test_a_calibration_bin_holds_its_upper_edge():
    result = compute_curves([0, 1, 1, 0], [0.0, 1 / 15, 1.0, 0.5]).reliability
    assert result["pairs"].tolist() == [2, *[0] * 6, 1, *[0] * 6, 1]
    assert result["positive_share"].dropna().tolist() == [0.5, 0.0, 1.0]


def test_a_pair_at_the_threshold_is_positive():
    assert compute_metrics([1, 0], [0.5, 0.4], 0.5).accuracy == 1


def test_best_threshold_is_midway_between_the_classes():
    assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)


def test_best_threshold_beats_every_other(scored):
    labels, probabilities = scored[:2]
    best = sk.matthews_corrcoef(labels, probabilities >= best_threshold(labels, probabilities))
    assert best == pytest.approx(
        max(sk.matthews_corrcoef(labels, probabilities >= cut) for cut in np.linspace(-0.05, 1.05, 111))
    )


def test_best_threshold_splits_neighbouring_floats():
    low = 0.5
    high = np.nextafter(low, 1)
    assert best_threshold([0, 1], [low, high]) == high


def test_weights_of_one_give_what_scikit_learn_gives(scored):
    labels, probabilities, a, b = scored
    result = bootstrap_intervals(labels, probabilities, a, b, 0.5, draws=5)
    metrics = compute_metrics(labels, probabilities, 0.5, a, b)._asdict()
    assert set(result) == set(metrics) - {"prevalence", "threshold", "pairs"}
    for name, interval in result.items():
        assert interval.value == pytest.approx(metrics[name], abs=1e-12), name


def test_drawn_weights_give_what_scikit_learn_gives(scored):
    labels, probabilities, a, b = scored
    result = bootstrap_intervals(labels, probabilities, a, b, 0.5, draws=1, seed=7)
    names, numbers = np.unique(np.concatenate([a, b]), return_inverse=True)
    counts = np.random.default_rng(7).multinomial(len(names), np.full(len(names), 1 / len(names)))
    times_a, times_b = counts[numbers[:400]], counts[numbers[400:]]
    weights = np.where(a == b, times_a, times_a * times_b)
    for name, value in _weighted(labels, probabilities, 0.5, weights).items():
        assert result[name].low == pytest.approx(value, abs=1e-12), name
        assert result[name].high == pytest.approx(value, abs=1e-12), name


def test_the_weight_of_a_pair_is_the_product_of_its_proteins():
    ranking = resample.rank_pairs(*(np.array(v) for v in ([1.0, 0, 1], [0.9, 0.5, 0.1], [0, 1, 2], [1, 1, 0])))
    assert resample.pair_weights(ranking, np.array([[2.0, 3.0, 0.0]])).tolist() == [[6.0, 3.0, 0.0]]


def test_order_of_pairs_and_size_of_chunks_never_matter(scored, monkeypatch):
    labels, probabilities, a, b = scored
    shuffled = np.random.default_rng(0).permutation(400)
    expected = bootstrap_intervals(labels, probabilities, a, b, 0.5, draws=20)
    monkeypatch.setattr(resample, "_CHUNK_NUMBERS", 3 * 400)
    result = bootstrap_intervals(*(v[shuffled] for v in scored), 0.5, draws=20)
    for name in expected:
        assert result[name] == pytest.approx(expected[name], abs=1e-12), name


def test_drawing_proteins_is_wider_than_drawing_pairs(scored):
    """Scores that depend on the protein alone: 30 proteins carry far less than 400 pairs."""
    labels, _, a, b = scored
    effect = np.random.default_rng(1).random(30)
    probabilities = effect[a.astype(int)]
    labels = (effect[a.astype(int)] + 0.8 * np.random.default_rng(2).random(400) > 0.9).astype(float)
    of_proteins = bootstrap_intervals(labels, probabilities, a, b, 0.5, draws=200)["auroc"]
    unique = np.arange(400).astype(str)
    of_pairs = bootstrap_intervals(labels, probabilities, unique, unique, 0.5, draws=200)["auroc"]
    assert of_proteins.low < of_proteins.value < of_proteins.high
    assert of_proteins.high - of_proteins.low > 1.3 * (of_pairs.high - of_pairs.low)


def test_intervals_of_independent_pairs_are_those_of_drawn_pairs():
    """Without the correction of `resample` they would be wider by the root of three."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 600).astype(float)
    probabilities = np.clip(0.3 * labels + 0.7 * rng.random(600), 0, 1)
    alone = np.arange(1200).reshape(2, 600)
    result = bootstrap_intervals(labels, probabilities, *alone, 0.5, draws=1000)["auroc"]
    drawn = rng.integers(0, 600, (1000, 600))
    expected = np.std([sk.roc_auc_score(labels[rows], probabilities[rows]) for rows in drawn]) * 2 * 1.96
    assert result.high - result.low == pytest.approx(expected, rel=0.15)


def test_intervals_hold_the_truth_as_often_as_they_say_and_those_of_pairs_do_not():
    """A short form of benchmarks/intervals.py."""
    world = intervals.World(150, 1000, share=0.6, sociability=2.0)
    result = intervals.cover(world, trials=100, draws=150).set_index(["metric", "drawn"])
    assert 0.86 <= result.loc[("auroc", "proteins"), "coverage"] <= 0.99
    assert result.loc[("auroc", "pairs"), "coverage"] < 0.8


def test_a_verdict_says_a_tie_when_the_interval_holds_zero():
    tie = resample.Interval(0.01, -0.01, 0.03, 1000, 50)
    assert describe_difference("v5", "degree", tie) == "v5 and degree: a tie (AUROC +0.010 [-0.010, +0.030])."
    worse = resample.Interval(-0.02, -0.03, -0.01, 1000, 50)
    assert describe_difference("v5", "degree", worse).startswith("v5 is worse than degree")


def test_an_interval_on_few_pairs_says_so():
    labels, p = np.array([1.0] * 4 + [0.0] * 30), np.linspace(0, 1, 34)
    ids = np.arange(68).astype(str).reshape(2, 34)
    result = bootstrap_intervals(labels, p, *ids, 0.5, draws=50)["auroc"]
    assert "only 4 pairs of one class" in result.format()
    assert "only" not in result._replace(rarer=10).format()


def test_top_of_the_ranking_by_hand(monkeypatch):
    labels = [1, 1, 0, 1, 0, 0, 1, 0]
    result = compute_metrics(labels, np.linspace(0.9, 0.1, 8), 0.5)
    assert result.precision_at_100 == 0.5  # fewer than 100 pairs: all of them
    assert result.recall_at_fdr_10 == 0.5  # the first two
    monkeypatch.setattr(resample, "TOP", 3)
    assert compute_metrics(labels, np.linspace(0.9, 0.1, 8), 0.5).precision_at_100 == pytest.approx(2 / 3)
    # two right, then one of the four that share a score, half of which are right
    tied = compute_metrics(labels, [0.9, 0.9, 0.5, 0.5, 0.5, 0.3, 0.5, 0.1], 0.5)
    assert tied.precision_at_100 == pytest.approx((2 + 0.5) / 3)


def test_recall_at_a_false_discovery_rate_is_what_scikit_learn_gives(scored):
    labels, probabilities = scored[0], scored[1] ** 2
    precision, recall, _ = sk.precision_recall_curve(labels, probabilities)
    expected = recall[precision >= 0.9].max()
    assert 0 < expected < 1
    assert compute_metrics(labels, probabilities, 0.5).recall_at_fdr_10 == pytest.approx(expected)


def test_one_to_ten_is_what_scikit_learn_gives_for_weighted_negatives(scored):
    labels, probabilities = scored[:2]
    weights = np.where(labels == 1, 1, 10 * labels.sum() / (len(labels) - labels.sum()))
    expected = sk.average_precision_score(labels, probabilities, sample_weight=weights)
    assert compute_metrics(labels, probabilities, 0.5).auprc_1_10 == pytest.approx(expected)


def test_labels_as_strings_are_refused():
    with pytest.raises(InputError, match="labels are of type <U1, such as '1'"):
        compute_metrics(np.array(["1", "0"]), [0.5, 0.1], 0.5)


def test_draws_that_lose_a_class_are_left_out_and_counted():
    result = bootstrap_intervals([1, 0], [0.9, 0.1], ["A", "B"], ["A", "B"], 0.5, draws=400)["auroc"]
    assert 120 < result.draws < 280  # each of the two proteins is drawn in half of the draws
    assert (result.low, result.high) == (1, 1)


def test_no_difference_to_itself_and_a_sign(scored):
    labels, probabilities, a, b = scored
    same = bootstrap_difference(labels, probabilities, probabilities, a, b, draws=20)
    assert same["auroc"][:3] == same["auprc"][:3] == (0, 0, 0)
    better = bootstrap_difference(labels, labels * 0.5 + 0.2, probabilities, a, b, draws=50)
    assert better["auroc"].low > 0
    assert better["auroc"].value == pytest.approx(1 - sk.roc_auc_score(labels, probabilities))


def test_the_difference_of_several_predictors_is_that_of_their_mean_metric(scored):
    labels, probabilities, a, b = scored
    other = np.random.default_rng(1).permutation(probabilities)
    one, two = (
        bootstrap_difference(labels, p, 1 - probabilities, a, b, draws=50)["auroc"] for p in (probabilities, other)
    )
    both = bootstrap_difference(labels, [probabilities, other], 1 - probabilities, a, b, draws=50)["auroc"]
    assert both.value == pytest.approx((one.value + two.value) / 2)
    assert both.low < both.value < both.high
    repeated = bootstrap_difference(labels, [other] * 3, [1 - probabilities] * 2, a, b, draws=50)["auroc"]
    assert repeated == pytest.approx(two)
    turned = bootstrap_difference(labels, 1 - probabilities, [probabilities, other], a, b, draws=50)["auroc"]
    assert turned.value == pytest.approx(-both.value)
    assert turned.low == pytest.approx(-both.high, abs=0.02)


def test_thinned_curves_stay_where_they_were():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000).astype(float)
    probabilities = np.clip(0.3 * labels + 0.7 * rng.random(20_000) + 0.01 * rng.random(20_000), 0, 1)
    curves = compute_curves(labels, probabilities)
    assert len(curves.roc) <= 1000
    assert len(curves.precision_recall) <= 1000
    fpr, tpr, _ = sk.roc_curve(labels, probabilities)
    kept = curves.roc.iloc[:, :2].to_numpy()
    distance = np.abs(np.stack([fpr, tpr], axis=1)[:, None] - kept).sum(axis=2).min(axis=1)
    assert distance.max() < 0.004  # every point has one that is drawn beside it
    assert sk.auc(*kept.T) == pytest.approx(curves.auroc, abs=1e-4)
    assert curves.roc.iloc[[0, -1], :2].to_numpy().tolist() == [[0, 0], [1, 1]]
    assert set(curves.precision_recall["recall"].iloc[[0, -1]]) == {0, 1}
    assert curves.auroc == pytest.approx(sk.roc_auc_score(labels, probabilities))


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], [], "empty"),
        ([1, 1], [0.1, 0.2], "labels are all 1"),
        ([0, 1], [0.1, np.nan], "probabilities hold 1 NaN"),
        ([0, np.nan], [0.1, 0.2], "labels hold 1 NaN"),
        ([0, 1, 1], [0.1, 0.2], r"\(3,\), probabilities \(2,\)"),
        ([0, 2], [0.1, 0.2], "labels hold 2"),
        ([0, 1], [-1.0, 3.0], "run from -1 to 3"),
    ],
)
def test_bad_input_is_named(labels, probabilities, message):
    ids = [str(i) for i in range(len(labels))]
    for call in (
        lambda: compute_metrics(labels, probabilities, 0.5),
        lambda: best_threshold(labels, probabilities),
        lambda: compute_curves(labels, probabilities),
        lambda: bootstrap_intervals(labels, probabilities, ids, ids, 0.5),
        lambda: bootstrap_difference(labels, probabilities, probabilities, ids, ids),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_proteins_must_match_the_labels():
    with pytest.raises(InputError, match=r"proteins_b has shape \(1,\)"):
        bootstrap_intervals([0, 1], [0.1, 0.9], ["A", "B"], ["A"], 0.5)
    with pytest.raises(InputError, match="draws is 0"):
        bootstrap_intervals([0, 1], [0.1, 0.9], ["A", "B"], ["A", "B"], 0.5, draws=0)
