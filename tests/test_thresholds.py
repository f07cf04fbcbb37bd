import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from ppi_lib.errors import InputError
from ppi_lib.thresholds import at_threshold, costs, sweep_thresholds


def test_every_threshold_has_the_confusion_table_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels, probabilities = generator.integers(0, 2, 200), generator.integers(0, 40, 200) / 40  # many ties
    table = sweep_thresholds(labels, probabilities)
    assert len(table) == len(np.unique(probabilities)) + 1
    for threshold in (0.0, 0.1, 0.333, 0.5, 0.975, 1.0):
        here = at_threshold(table, threshold)
        cells = [here.true_negative, here.false_positive, here.false_negative, here.true_positive]
        assert cells == list(confusion_matrix(labels, probabilities >= threshold).ravel())


def test_where_nothing_is_called_nothing_is_wrong():
    first = sweep_thresholds([0, 1], [0.2, 0.8]).iloc[0]
    assert (first.precision, first.recall, first.false_negative) == (1, 0, 1)


def test_costs_weigh_both_kinds_of_error():
    table = sweep_thresholds([0, 1, 1, 0], [0.2, 0.8, 0.3, 0.5])
    assert list(costs(table, 1, 3)) == [150, 75, 100, 25, 50]
    with pytest.raises(InputError, match="expected 0 or more"):
        costs(table, -1, 1)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([1, 1], [0.1, 0.2], "expected both classes"),
        ([0, 1], [0.1], "expected one of each per pair"),
        ([1, -1, 1], [0.1, 0.2, 0.3], "labels hold -1; expected only 0 and 1"),
        ([1, 0], [0.1, np.nan], "probabilities hold 1 NaN, the first at pair 1"),
    ],
)
def test_what_is_no_label_or_no_probability_is_refused(labels, probabilities, message):
    with pytest.raises(InputError, match=message):
        sweep_thresholds(labels, probabilities)
