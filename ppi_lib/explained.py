"""What an attribution is: scores in logits, with the places of the patches and residues of both proteins.

Shape letters: K cross-attention layers, H heads, P patches of A, Q patches of B, T = P + Q, L residues.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from ppi_lib.pair_inputs import Coordinates

_COLUMNS = ["side", "protein", "patch", "first_residue", "last_residue"]


class AttentionMap(NamedTuple):
    coordinates: Coordinates
    weights: Float[np.ndarray, "K H T"]
    """Over the patches of A and then of B they sum to one."""


class WeightAttribution(NamedTuple):
    coordinates: Coordinates
    method: str
    weights: Float[np.ndarray, "K H T"]
    attributions: Float[np.ndarray, "K H T"]
    """What each weight adds to the logit, in logits."""
    logit: float
    baseline_logit: float
    """The logit under uniform attention."""

    @property
    def error(self) -> float:
        """Sum of the attributions less the difference they should sum to, in logits."""
        return float(self.attributions.sum()) - (self.logit - self.baseline_logit)

    def table(self) -> pd.DataFrame:
        """Return the columns of `PatchAttribution.table` with `layer`, `head` (from 1), `weight` and `attribution`."""
        patches = pd.DataFrame(self.coordinates.rows(), columns=_COLUMNS)
        layers, heads, _ = self.weights.shape
        parts = [
            patches.assign(layer=k + 1, head=h + 1, weight=self.weights[k, h], attribution=self.attributions[k, h])
            for k in range(layers)
            for h in range(heads)
        ]
        return pd.concat(parts, ignore_index=True)


class PatchAttribution(NamedTuple):
    coordinates: Coordinates
    method: str
    scores: Float[np.ndarray, " T"]
    """What each patch of A and then of B adds to the logit, in logits; attention has no unit."""
    logit: float
    baseline_logit: float
    """The logit of the baseline of both proteins (of uniform attention, if weights were attributed)."""

    @property
    def scores_a(self) -> Float[np.ndarray, " P"]:
        return self.scores[: self.coordinates.patches_a]

    @property
    def scores_b(self) -> Float[np.ndarray, " Q"]:
        return self.scores[self.coordinates.patches_a :]

    @property
    def error(self) -> float:
        """Sum of the scores less logit and baseline's difference. Only integrals and Shapley values promise 0."""
        return float(self.scores.sum()) - (self.logit - self.baseline_logit)

    def table(self) -> pd.DataFrame:
        """Return `side`, `protein`, `patch`, `first_residue`, `last_residue` (from 1, both included) and `score`."""
        return pd.DataFrame(self.coordinates.rows(), columns=_COLUMNS).assign(score=self.scores)


class ResidueAttribution(NamedTuple):
    coordinates: Coordinates
    scores_a: Float[np.ndarray, " L"]
    """What each residue of A adds to the logit, in logits; the 32 of a patch share one gradient."""
    scores_b: Float[np.ndarray, " L"]
    logit: float
    baseline_logit: float

    @property
    def error(self) -> float:
        return float(self.scores_a.sum() + self.scores_b.sum()) - (self.logit - self.baseline_logit)
