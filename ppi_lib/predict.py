"""A list of pairs in, the probability of each out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ppi_lib.loop import resolve_precision
from ppi_lib.model import PPIClassifier
from ppi_lib.proteins import Pairs
from ppi_lib.store import PatchStore
from ppi_lib.tokens import encode_proteins, score_pairs


class Prediction(NamedTuple):
    logits: np.ndarray
    """`(B,)`, float64."""
    probabilities: np.ndarray
    """`(B,)`, float64, 0 to 1: the sigmoid of the logits."""


def predict_pairs(
    model: PPIClassifier,
    store: PatchStore,
    pairs: Pairs,
    *,
    precision: str = "auto",
    cache: str | Path | None = None,
    progress: bool = True,
) -> Prediction:
    """Score `pairs` in their order; each protein is encoded once. `cache`: see `encode_proteins`."""
    dtype = resolve_precision(precision, model.encoder.cls_token.device)
    table = encode_proteins(model, store, pairs.proteins, dtype=dtype, cache=cache, progress=progress)
    logits = score_pairs(model, table, table.places(pairs.a), table.places(pairs.b), dtype=dtype).astype(np.float64)
    return Prediction(logits, torch.from_numpy(logits).sigmoid().numpy())
