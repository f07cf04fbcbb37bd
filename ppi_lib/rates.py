"""Counts, or weights, into rates."""

import numpy as np


def divide(top, bottom) -> np.ndarray:
    """Divide, with 0 where the bottom is 0, as scikit-learn does for its rates."""
    top, bottom = np.asarray(top, dtype=float), np.asarray(bottom, dtype=float)
    return np.divide(top, bottom, out=np.zeros(np.broadcast_shapes(top.shape, bottom.shape)), where=bottom > 0)


def matthews(tp, fp, fn, tn) -> np.ndarray:
    """Matthews correlation of the four cells; 0 where a class was never or always called."""
    return divide(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
