"""pp_MCC: what it is by hand, and that a model of sociability alone has less of it."""

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from ppi_lib.evaluate import compute_metrics
from ppi_lib.per_protein import per_protein_mcc, sort_cells


def test_by_hand():
    # A: right twice; B: (1, called), (0, called); C: one class only; D: (0, not), (0, called)
    labels, called = [1, 0, 0], [1, 0, 1]
    a, b = ["A", "A", "B"], ["B", "D", "D"]
    result = compute_metrics(labels, np.array(called, float), 0.5, a, b)
    assert result.pp_mcc == pytest.approx((1 + 0) / 2)  # A 1, B 0; D has no positive


def test_it_is_the_mean_of_what_scikit_learn_gives_each_protein():
    rng = np.random.default_rng(0)
    labels, called = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    a, b = rng.integers(0, 20, (2, 300))
    expected = [
        matthews_corrcoef(labels[rows], called[rows])
        for rows in ((a == protein) | (b == protein) for protein in range(20))
        if 0 < labels[rows].mean() < 1
    ]
    cells = sort_cells(labels, called, a, b, 20)
    assert per_protein_mcc(cells, np.ones((1, 300)), np.ones((1, 20)))[0] == pytest.approx(np.mean(expected))


def test_a_protein_drawn_twice_counts_twice():
    labels, called = np.array([1, 0, 1, 0]), np.array([1, 0, 0, 1])
    a, b = np.array([0, 0, 1, 1]), np.array([2, 3, 4, 5])  # protein 0 all right, 1 all wrong
    cells = sort_cells(labels, called, a, b, 6)
    counts = np.array([[3.0, 1, 1, 1, 1, 1]])
    weights = counts[:, a] * counts[:, b]
    assert per_protein_mcc(cells, weights, counts)[0] == pytest.approx((3 - 1) / 4)


def test_no_protein_with_both_classes_is_no_number():
    result = compute_metrics([1, 0], [0.9, 0.1], 0.5, ["A", "C"], ["B", "D"])
    assert np.isnan(result.pp_mcc)
    assert np.isnan(compute_metrics([1, 0], [0.9, 0.1], 0.5).pp_mcc)


def test_knowing_who_is_sociable_is_worth_less():
    rng = np.random.default_rng(1)
    sociable = np.repeat([0.1, 0.9], 50)
    a, b = rng.integers(0, 100, (2, 8000))
    labels = (rng.random(8000) < (sociable[a] + sociable[b]) / 2).astype(float)
    result = compute_metrics(labels, (sociable[a] > 0.5).astype(float), 0.5, a, b)
    assert result.mcc > 0.35
    assert result.pp_mcc < 0.75 * result.mcc
