"""Every threshold that a set of scored pairs allows: the four cells of its confusion table, and what errors cost."""

import numpy as np
import pandas as pd

from ppi_lib.errors import InputError
from ppi_lib.rates import check_scores, divide

CELLS = ("true_positive", "false_positive", "false_negative", "true_negative")


def sweep_thresholds(labels, probabilities) -> pd.DataFrame:
    """Return a row per distinct probability, the highest first, and before it one threshold that calls nothing.

    Columns are `threshold`, the `CELLS` (pairs), `precision` and `recall`. A pair is called if its probability is at
    least the threshold.
    """
    y, p = check_scores(labels, probabilities)
    order = np.argsort(-p, kind="stable")
    last = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    tp = np.append(0, np.cumsum(y[order])[last]).astype(int)
    called = np.append(0, last + 1)
    positives = int(y.sum())
    table = pd.DataFrame({"threshold": np.append(np.inf, p[order][last])})
    table = table.assign(true_positive=tp, false_positive=called - tp, false_negative=positives - tp)
    table["true_negative"] = len(y) - called - table["false_negative"]
    # where nothing is called, no call is wrong
    table["precision"] = np.where(called > 0, divide(tp, called), 1.0)
    return table.assign(recall=tp / positives)


def at_threshold(table: pd.DataFrame, threshold: float) -> pd.Series:
    """Return the row of `sweep_thresholds` that holds at a threshold."""
    return table[table["threshold"] >= threshold].iloc[-1]


def costs(table: pd.DataFrame, false_positive: float, false_negative: float) -> pd.Series:
    """Return what the errors of 100 pairs cost at each threshold, given what one of either kind does."""
    if not min(false_positive, false_negative) >= 0:
        raise InputError(f"costs are {false_positive} and {false_negative}; expected 0 or more.")
    wrong = table["false_positive"] * false_positive + table["false_negative"] * false_negative
    return 100 * wrong / table[list(CELLS)].sum(axis=1)
