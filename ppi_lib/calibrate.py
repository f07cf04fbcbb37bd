"""Probabilities that mean what they say, on the user's own prevalence.

A network's logits rank pairs; how sure they are is another matter (Guo et al. 2017, ICML). A calibration is fitted on
the validation pairs: by a temperature that divides the logits and an offset that is added (Platt 1999), so that their
mean probability is the share of positives; or, where both classes have a thousand pairs, by isotonic regression
(Zadrozny and Elkan 2002, KDD) on how the log odds in up to a hundred groups of like logit differ from that line. Groups
hold alike much of their rarer class, so that the top of a ranking is as finely told as its middle. Between the middles
of its steps the calibrated logit runs in straight lines, and beyond the ends on with the temperature's slope, so
neither changes a ranking.

Validation pairs are as a rule half positive, and life isn't: one pair in ten of a screen's best, one in a thousand of
all pairs. `prevalence` moves the odds by the ratio of the two (Elkan 2001, IJCAI), which is right as long as positives
and negatives each look as they did in validation.

Shape letters: B pairs, K knots.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from ppi_lib.errors import InputError

METHODS = ("temperature", "isotonic")
FEWEST = 10
"""Pairs of each class that a temperature and an offset need."""
_FEWEST_ISOTONIC = 1000
_MOST_GROUPS = 100
_INFORMATION = 25
"""Least sum of p * (1 - p) over a group: that of 100 pairs of even odds, or of 25,000 of one in a thousand."""
_SLOPES = np.exp(-3), np.exp(3)
_OFFSETS = -20, 20


@dataclass(frozen=True, kw_only=True)
class Calibration:
    temperature: float = 1.0
    """Divides the logits; 1 leaves them as they are."""
    offset: float = 0.0
    """Added after that."""
    knots: Sequence[Sequence[float]] = ()
    """Logits, rising, and the calibrated logit at each; empty if temperature and offset are all."""
    prevalence: float | None = None
    """Share of positives among the pairs it was fitted on; None if it wasn't fitted."""
    pairs: int = 0
    """How many those were."""

    def __post_init__(self):
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; expected above 0.")
        object.__setattr__(self, "knots", tuple(tuple(map(float, knot)) for knot in self.knots))

    @property
    def method(self) -> str:
        return "none" if self.prevalence is None else "isotonic" if self.knots else "temperature"

    def probabilities(self, logits, *, prevalence: float | None = None) -> np.ndarray:
        """Return the probabilities `(B,)` of the model's logits, where `prevalence` of the pairs are positive.

        Without `prevalence`, as among the pairs it was fitted on.
        """
        logits = np.asarray(logits, dtype=np.float64)
        calibrated = logits / self.temperature + self.offset
        if self.knots:
            x, y = np.array(self.knots).T
            calibrated = np.interp(logits, x, y) + (logits - np.clip(logits, x[0], x[-1])) / self.temperature
        found = expit(calibrated)
        return found if prevalence is None else self._shift(found, prevalence)

    def _shift(self, found: np.ndarray, prevalence: float) -> np.ndarray:
        """Move the odds from the prevalence of the fit to another."""
        if not 0 < prevalence < 1:
            raise InputError(f"prevalence is {prevalence}; expected a share between 0 and 1, such as 0.001.")
        if self.prevalence is None:
            raise InputError(
                "prevalence can't be used: the model has no calibration, so that of its own probabilities isn't known. "
                "Train it again with at least 10 validation pairs of each class."
            )
        odds = found / np.maximum(1 - found, 1e-12) * (prevalence / (1 - prevalence))
        odds *= (1 - self.prevalence) / self.prevalence
        return odds / (1 + odds)


def _check(labels, logits) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.asarray(labels), np.asarray(logits, dtype=np.float64)
    if y.dtype.kind not in "fiub" or not np.isin(y, (0, 1)).all():
        raise InputError(f"labels hold {str(y.flat[0])!r} and others; expected only the numbers 0 and 1. Convert them.")
    if y.shape != x.shape or y.ndim != 1:
        raise InputError(f"labels have shape {y.shape}, logits {x.shape}; expected one of each per pair.")
    if not np.isfinite(x).all():
        place = int((~np.isfinite(x)).argmax())
        raise InputError(f"logits hold {x[place]}, first at pair {place}; expected finite numbers.")
    return y.astype(float), x


def _fit_line(y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Return the temperature, between a twentieth and twenty, and the offset of the lowest cross-entropy."""
    middle, spread = x.mean(), x.std() or 1.0
    unit = (x - middle) / spread  # both directions of the search alike

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        z = line[0] * unit + line[1]
        excess = expit(z) - y
        return float(np.mean(np.logaddexp(0, z) - y * z)), np.array([np.mean(excess * unit), np.mean(excess)])

    slopes = _SLOPES[0] * spread, _SLOPES[1] * spread
    slope, offset = minimize(loss, (spread, 0.0), jac=True, bounds=(slopes, _OFFSETS), tol=1e-12).x
    return float(spread / slope), float(offset - slope / spread * middle)


def _fit_knots(y: np.ndarray, x: np.ndarray, z: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return the middle of each of isotonic regression's steps and the log odds there; `z` is the line at `x`."""
    order, line = np.argsort(x, kind="stable"), expit(z).clip(1e-9, 1 - 1e-9)
    known = np.cumsum((line * (1 - line))[order])
    groups = int(np.clip(known[-1] // _INFORMATION, 1, _MOST_GROUPS))
    group = np.empty(len(x), dtype=int)
    group[order] = np.minimum(known / known[-1] * groups, groups - 1)
    _, group, counts = np.unique(group, return_inverse=True, return_counts=True)
    middle, linear, expected = (np.bincount(group, weights=values) / counts for values in (x, z, line))
    # half a pair of the rarer class on top, shared out as the line has it, so that no share is 0 or 1
    extra = 0.5 / np.minimum(expected, 1 - expected)
    share = (np.bincount(group, weights=y) + extra * expected) / (counts + extra)
    # a group's mean share stands against the line's, since neither is the share at its middle
    weight = counts * expected * (1 - expected)
    level = linear + logit(share) - logit(expected)
    fitted = IsotonicRegression().fit_transform(middle, level, sample_weight=weight)
    step = np.append(0, np.cumsum(np.diff(fitted) > 1e-12))
    middles, levels = (
        np.bincount(step, weights=values * weight) / np.bincount(step, weights=weight) for values in (middle, fitted)
    )
    return tuple(zip(middles.tolist(), levels.tolist(), strict=True))


def fit_calibration(labels, logits, *, method: str | None = None) -> Calibration:
    """Fit a calibration on validation pairs; `method` is one of `METHODS`, by default what their number allows.

    Raises `InputError` for fewer than ten pairs of a class, or than a thousand if isotonic is asked for.
    """
    y, x = _check(labels, logits)
    fewest = int(min(y.sum(), len(y) - y.sum()))
    method = method or ("isotonic" if fewest >= _FEWEST_ISOTONIC else "temperature")
    if method not in METHODS:
        raise InputError(f"method is {method!r}; expected one of {', '.join(METHODS)}.")
    needed = _FEWEST_ISOTONIC if method == "isotonic" else FEWEST
    if fewest < needed:
        raise InputError(
            f"{len(y):,} pairs, {fewest:,} of the rarer class, are too few for a calibration by {method}; expected at "
            f"least {needed:,} of each class. Give more validation pairs{', or use a temperature' * (needed > FEWEST)}."
        )
    temperature, offset = _fit_line(y, x)
    knots = _fit_knots(y, x, x / temperature + offset) if method == "isotonic" else ()
    return Calibration(temperature=temperature, offset=offset, knots=knots, prevalence=float(y.mean()), pairs=len(y))


def calibrate_if_possible(labels, logits) -> Calibration:
    """The same, but without a calibration where the pairs are too few for one."""
    positives = int(np.sum(labels))
    return fit_calibration(labels, logits) if min(positives, len(labels) - positives) >= FEWEST else Calibration()
