"""Risk against coverage, by hand, and what a confidence that tells nothing gives."""

import numpy as np
import pytest

from ppi_lib.errors import InputError
from ppi_lib.selective import risk_coverage


def test_by_hand():
    # surest first: .95 right, .1 right, .6 wrong
    result = risk_coverage([1, 0, 0], [0.95, 0.1, 0.6], 0.5)
    assert result.curve["coverage"].tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert result.curve["risk"].tolist() == pytest.approx([0, 0, 1 / 3])
    assert (result.area, result.error_rate) == pytest.approx((1 / 9, 1 / 3))


def test_confidence_is_counted_from_the_threshold():
    # at a threshold of .9 a probability of .6 is surer than one of .88
    result = risk_coverage([0, 1], [0.6, 0.88], 0.9)
    assert result.curve["risk"].tolist() == [0, 0.5]


def test_equal_confidence_is_decided_together():
    one = risk_coverage([1, 0, 1, 0], [0.9] * 4, 0.5)
    other = risk_coverage([0, 0, 1, 1], [0.9] * 4, 0.5)
    assert one.curve["risk"].tolist() == other.curve["risk"].tolist() == [0.5] * 4


def test_a_confidence_of_ones_own():
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 2, 5000), rng.random(5000)
    wrong = (p >= 0.5) != labels
    knowing, blind = risk_coverage(labels, p, 0.5, 1.0 - wrong), risk_coverage(labels, p, 0.5, rng.random(5000))
    assert knowing.area < blind.area
    assert blind.area == pytest.approx(blind.error_rate, abs=0.03)
    assert len(blind.curve) <= 200


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"labels have shape \(2,\), probabilities \(3,\)"):
        risk_coverage([0, 1], [0.1, 0.2, 0.3], 0.5)
    with pytest.raises(InputError, match="1 NaN; expected a number for each of 2 pairs"):
        risk_coverage([0, 1], [0.1, 0.2], 0.5, [np.nan, 1])
