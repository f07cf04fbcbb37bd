"""How much a prediction rests on the very weights that were found: Monte Carlo dropout.

The pairs are scored several times with the dropout of training left on (Gal and Ghahramani 2016, ICML). What the
scores agree on is what the data taught; where they part, another training might have said something else. The encoder
stays as it is, so every protein is still encoded once, but each sample costs a pass over all pairs.

The choice worth knowing: this isn't on by default. How far a calibrated probability is from the threshold costs
nothing, and `selective.risk_coverage` says on one's own validation pairs whether the samples know anything beyond it.

Shape letters: B pairs, S samples.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import entr
from tqdm.auto import tqdm

from ppi_lib.calibrate import Calibration
from ppi_lib.errors import InputError
from ppi_lib.model import PPIClassifier
from ppi_lib.proteins import Pairs
from ppi_lib.settings import resolve_precision
from ppi_lib.store import PatchStore
from ppi_lib.tokens import encode_proteins, score_pairs


class Uncertainty(NamedTuple):
    """What the samples say of each pair, `(B,)` each, float64."""

    probabilities: np.ndarray
    """Mean over the samples."""
    deviation: np.ndarray
    """Standard deviation of the samples' probabilities."""
    knowledge: np.ndarray
    """Mutual information of call and weights, in bits: high where the samples are sure and contradict one another."""


def sample_logits(
    model: PPIClassifier,
    store: PatchStore,
    pairs: Pairs,
    *,
    samples: int = 20,
    seed: int = 0,
    precision: str = "auto",
    progress: bool = True,
) -> np.ndarray:
    """Return the logits `(S, B)` of pairs with dropout on in cross-attention and head, the same for the same seed."""
    if samples < 2:
        raise InputError(f"samples is {samples}; expected at least 2, and 20 or so for a stable deviation.")
    dropouts = [
        m for part in (model.interaction, model.head) for m in part.modules() if isinstance(m, torch.nn.Dropout)
    ]
    if not any(module.p > 0 for module in dropouts):
        raise InputError("The model has no dropout, so all samples would be the same. Train one with dropout above 0.")
    dtype = resolve_precision(precision, model.encoder.cls_token.device)
    table = encode_proteins(model, store, pairs.proteins, dtype=dtype, progress=progress)
    a, b = table.places(pairs.a), table.places(pairs.b)
    found = np.empty((samples, len(pairs)))
    with torch.random.fork_rng():
        for sample in tqdm(range(samples), desc="dropout", unit="sample", disable=not progress):
            torch.manual_seed(hash((seed, sample)) % 2**63)
            found[sample] = score_pairs(model, table, a, b, dtype=dtype, dropout=True)
    return found


def summarise_samples(
    logits: np.ndarray, calibration: Calibration | None = None, *, prevalence: float | None = None
) -> Uncertainty:
    """Return mean, deviation and mutual information of sampled logits `(S, B)`, each sample calibrated by itself.

    With `prevalence` they are of probabilities where that share of the pairs is positive.
    """
    p = (calibration or Calibration()).probabilities(logits, prevalence=prevalence)
    mean = p.mean(axis=0)
    total, own = ((entr(q) + entr(1 - q)) / np.log(2) for q in (mean, p))
    return Uncertainty(mean, p.std(axis=0), np.maximum(total - own.mean(axis=0), 0))
