"""Calibration: known distortions are undone, rankings kept, prevalence moved as Bayes says."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from ppi_lib.calibrate import Calibration, calibrate_if_possible, fit_calibration
from ppi_lib.errors import InputError
from ppi_lib.evaluate import compute_metrics


def simulate(pairs: int, distort=lambda x: x, prevalence: float = 0.5, seed: int = 0):
    """Labels, and logits that are true log odds before `distort`: two normal densities one apart."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(pairs) < prevalence).astype(float)
    x = rng.normal(labels, 1)
    odds = norm.logpdf(x, 1) - norm.logpdf(x, 0) + np.log(prevalence / (1 - prevalence))
    return labels, distort(odds)


def ece(labels, probabilities):
    return compute_metrics(labels, probabilities, 0.5).ece


def test_a_temperature_is_found_again():
    labels, logits = simulate(20_000, lambda x: 3 * x)
    found = fit_calibration(labels, logits, method="temperature")
    assert found.temperature == pytest.approx(3, rel=0.05)
    test, others = simulate(20_000, lambda x: 3 * x, seed=1)
    assert ece(test, found.probabilities(others)) < 0.015 < ece(test, expit(others))


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_the_mean_probability_is_the_share_of_positives_asked_for(method):
    """True log odds at one to one, fitted where one pair in eleven is positive: the shift takes the share it needs."""
    labels, logits = simulate(12_000, prevalence=1 / 11)
    found = fit_calibration(labels, logits - np.log(1 / 10), method=method)
    assert found.prevalence == labels.mean()
    for prevalence in (None, 0.5, 0.01):
        share = found.prevalence if prevalence is None else prevalence
        others, at_share = simulate(50_000, prevalence=share, seed=1)
        balanced = at_share - np.log(share / (1 - share))
        assert found.probabilities(balanced, prevalence=prevalence).mean() == pytest.approx(others.mean(), rel=0.15)
        assert ece(others, found.probabilities(balanced, prevalence=prevalence)) < 0.02


def test_temperature_and_offset_are_those_of_an_unpenalised_logistic_regression():
    labels, logits = simulate(2000, lambda x: 200 * x + 300)
    found = fit_calibration(labels, logits, method="temperature")
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None] / 200, labels)
    assert 1 / found.temperature == pytest.approx(np.exp(-3))  # as far as it goes
    found = fit_calibration(labels, logits / 200, method="temperature")
    assert 1 / found.temperature == pytest.approx(peer.coef_[0, 0], rel=1e-4)
    assert found.offset == pytest.approx(peer.intercept_[0], rel=1e-4)


def test_isotonic_undoes_what_no_temperature_can():
    labels, logits = simulate(20_000, lambda x: x**3 + 2)
    test, others = simulate(20_000, lambda x: x**3 + 2, seed=1)
    isotonic, temperature = (fit_calibration(labels, logits, method=one) for one in ("isotonic", "temperature"))
    assert ece(test, isotonic.probabilities(others)) < 0.02
    assert ece(test, temperature.probabilities(others)) > 0.04


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_ranking_stays_as_it_is_beyond_the_ends_too(method):
    labels, logits = simulate(5000, lambda x: 2 * x)
    found = fit_calibration(labels, logits, method=method)
    rising = np.linspace(2 * logits.min(), 2 * logits.max(), 1000)
    assert (np.diff(found.probabilities(rising)) > 0).all()


def test_the_number_of_pairs_chooses_the_method():
    assert fit_calibration(*simulate(4000)).method == "isotonic"
    assert fit_calibration(*simulate(400)).method == "temperature"
    assert calibrate_if_possible(*simulate(8)) == Calibration()
    assert calibrate_if_possible(*simulate(400)).method == "temperature"


def test_the_prevalence_moves_the_odds_by_hand():
    fitted = Calibration(prevalence=0.5, pairs=100)
    assert fitted.probabilities([0.0], prevalence=0.1) == pytest.approx([0.1])
    assert fitted.probabilities([np.log(3)], prevalence=0.2) == pytest.approx([3 / 7])
    assert fitted.probabilities([0.7], prevalence=0.5) == pytest.approx(expit([0.7]))


def test_moved_probabilities_are_right_where_positives_are_rare():
    found = fit_calibration(*simulate(20_000))
    labels, logits = simulate(40_000, prevalence=1 / 11, seed=1)
    balanced = logits - np.log(1 / 10)  # what a model trained at one to one would say
    assert ece(labels, found.probabilities(balanced, prevalence=1 / 11)) < 0.015
    assert ece(labels, found.probabilities(balanced)) > 0.2


@pytest.mark.parametrize("apart", [3, 4])
def test_the_top_of_a_long_ranking_is_right_where_one_pair_in_a_thousand_is_positive(apart):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 5000)
    found = fit_calibration(labels, rng.normal(apart * labels, 1))
    assert found.method == "isotonic"
    labels = (rng.random(1_000_000) < 0.001).astype(int)
    logits = rng.normal(apart * labels, 1)
    probabilities = found.probabilities(logits, prevalence=0.001)
    assert probabilities.sum() == pytest.approx(labels.sum(), rel=0.15)
    top = np.argsort(-logits)[:500]
    assert probabilities[top].mean() == pytest.approx(labels[top].mean(), abs=0.05)


def test_groups_hold_as_much_of_the_rarer_class_however_rare_it_is():
    """Two thousand positives among 200,000: equal groups of pairs would put most of them into one."""
    rng = np.random.default_rng(0)
    labels, test = np.zeros((2, 200_000))
    labels[:2000], test[:2000] = 1, 1
    found = fit_calibration(labels, rng.normal(4 * labels, 1))
    logits = rng.normal(4 * test, 1)
    probabilities = found.probabilities(logits)
    for low, high in ((0, 500), (500, 1000), (1000, 2000), (2000, 4000)):
        band = np.argsort(-logits)[low:high]
        assert probabilities[band].mean() == pytest.approx(test[band].mean(), abs=0.03)


def test_logits_far_from_zero_and_close_together_are_fitted():
    labels, logits = simulate(2000)
    near = 3 + 0.09 * logits
    found = fit_calibration(labels, near, method="temperature")
    assert found.probabilities(near).mean() == pytest.approx(labels.mean(), abs=1e-3)


def test_extreme_logits_stay_probabilities():
    fitted = Calibration(prevalence=0.5, pairs=100)
    for prevalence in (None, 0.001, 0.999):
        result = fitted.probabilities([-1e4, 1e4], prevalence=prevalence)
        assert np.isfinite(result).all()
        assert ((result >= 0) & (result <= 1)).all()


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"20 pairs, 9 of the rarer class, are too few .* at least 10 of each"):
        fit_calibration([1] * 9 + [0] * 11, np.zeros(20))
    with pytest.raises(InputError, match=r"by isotonic; expected at least 1,000 of each class.*or use a temperature"):
        fit_calibration(*simulate(400), method="isotonic")
    with pytest.raises(InputError, match="logits hold nan, first at pair 1"):
        fit_calibration([0, 1], [0.0, np.nan])
    with pytest.raises(InputError, match="labels hold '0'"):
        fit_calibration(np.array(["0", "1"]), [0.0, 1.0])
    with pytest.raises(InputError, match=r"labels have shape \(2,\), logits \(3,\)"):
        fit_calibration([0, 1], [0.0, 1.0, 2.0])
    with pytest.raises(InputError, match="method is 'platt'; expected one of temperature, isotonic"):
        fit_calibration(*simulate(400), method="platt")
    with pytest.raises(InputError, match=r"prevalence is 5\.0; expected a share"):
        Calibration(prevalence=0.5).probabilities([0.0], prevalence=5.0)
    with pytest.raises(InputError, match="the model has no calibration"):
        Calibration().probabilities([0.0], prevalence=0.1)
    with pytest.raises(InputError, match="temperature is 0"):
        Calibration(temperature=0.0)
