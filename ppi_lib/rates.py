"""Counts, or weights, into rates; and whether labels, probabilities and a threshold are such.

Shape letters: B pairs.
"""

import numpy as np

from ppi_lib.errors import InputError


def divide(top, bottom) -> np.ndarray:
    """Divide, with 0 where the bottom is 0, as scikit-learn does for its rates."""
    top, bottom = np.asarray(top, dtype=float), np.asarray(bottom, dtype=float)
    return np.divide(top, bottom, out=np.zeros(np.broadcast_shapes(top.shape, bottom.shape)), where=bottom > 0)


def matthews(tp, fp, fn, tn) -> np.ndarray:
    """Matthews correlation of the four cells; 0 where a class was never or always called."""
    return divide(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def check_scores(labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 `(B,)`, or say what is wrong with them."""
    for name, values in (("labels", labels), ("probabilities", probabilities)):
        if np.asarray(values).size and np.asarray(values).dtype.kind not in "fiub":
            raise InputError(
                f"{name} are of type {np.asarray(values).dtype}, such as {str(np.asarray(values).flat[0])!r}; expected "
                "numbers. Convert them, labels to 0 and 1."
            )
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    if y.ndim != 1 or p.shape != y.shape:
        raise InputError(
            f"labels have shape {y.shape}, probabilities {p.shape}; expected one of each per pair. "
            "Score the same table that the labels come from."
        )
    if not len(y):
        raise InputError("labels are empty; expected at least one pair of each class.")
    for name, values in (("labels", y), ("probabilities", p)):
        if np.isnan(values).any():
            raise InputError(
                f"{name} hold {int(np.isnan(values).sum())} NaN, the first at pair "
                f"{int(np.isnan(values).argmax())}; expected numbers. Leave those pairs out."
            )
    if not np.isin(y, (0, 1)).all():
        raise InputError(f"labels hold {y[~np.isin(y, (0, 1))][0]:g}; expected only 0 and 1. Recode them.")
    if p.min() < 0 or p.max() > 1:
        raise InputError(
            f"probabilities run from {p.min():g} to {p.max():g}; expected 0 to 1. Take the sigmoid of logits first."
        )
    if y.min() == y.max():
        raise InputError(f"labels are all {y[0]:g}; expected both classes. Add pairs of the other class.")
    return y, p


def check_threshold(threshold: float) -> None:
    """Raise `InputError` unless a threshold is a probability."""
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold}; expected between 0 and 1, as `best_threshold` gives it.")
