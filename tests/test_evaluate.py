"""Metrics, intervals and curves: hand-worked cases, and scikit-learn where it has the number."""

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
)

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
    metrics = compute_metrics(labels, probabilities, 0.5)._asdict()
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
