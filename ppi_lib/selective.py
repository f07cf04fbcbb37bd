"""What is gained by leaving the pairs undecided of which the model is least sure: risk against coverage.

Pairs are decided from the surest on; risk is the share of wrong ones among those decided (El-Yaniv and Wiener 2010,
JMLR 11:1605). A confidence that tells nothing gives a flat line at the error rate.

Shape letters: B pairs.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.errors import InputError
from ppi_lib.rates import check_scores, check_threshold

_POINTS = 200


class RiskCoverage(NamedTuple):
    curve: pd.DataFrame
    """`coverage` and `risk`, at most 200 points."""
    area: float
    """Mean risk over all coverages; the error rate if confidence tells nothing, and less if it does."""
    error_rate: float


def risk_coverage(labels, probabilities, threshold: float, confidence=None) -> RiskCoverage:
    """Return the curve of calls at `threshold`, by `confidence` `(B,)`, or by how far the log odds are from it."""
    y, p = check_scores(labels, probabilities)
    check_threshold(threshold)
    if confidence is None:
        clipped, cut = (np.clip(value, 1e-12, 1 - 1e-12) for value in (p, threshold))
        confidence = np.abs(np.log(clipped / (1 - clipped)) - np.log(cut / (1 - cut)))
    confidence = np.asarray(confidence, dtype=float)
    if confidence.shape != y.shape or np.isnan(confidence).any():
        raise InputError(
            f"confidence has shape {confidence.shape} and {int(np.isnan(confidence).sum())} NaN; expected a number for "
            f"each of {len(y):,} pairs."
        )
    order = np.argsort(-confidence, kind="stable")
    wrong = ((p >= threshold) != (y == 1))[order].astype(float)
    # equals are decided together: each has the mean of its group
    _, group = np.unique(-confidence[order], return_inverse=True)
    wrong = (np.bincount(group, weights=wrong) / np.bincount(group))[group]
    risk = np.cumsum(wrong) / np.arange(1, len(y) + 1)
    kept = np.unique(np.linspace(0, len(y) - 1, min(_POINTS, len(y))).round().astype(int))
    curve = pd.DataFrame({"coverage": (kept + 1) / len(y), "risk": risk[kept]})
    return RiskCoverage(curve, float(risk.mean()), float(wrong.mean()))
