"""A list of pairs in, the probability of each out."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor
from tqdm.auto import tqdm

from ppi_lib.errors import InputError
from ppi_lib.factors import encode_factors
from ppi_lib.files import write_atomically
from ppi_lib.memory import keep_freed_memory
from ppi_lib.model import PPIClassifier
from ppi_lib.proteins import Pairs
from ppi_lib.scorer import CHUNK, PairScorer
from ppi_lib.settings import resolve_precision
from ppi_lib.store import PatchStore


class Prediction(NamedTuple):
    logits: np.ndarray
    """`(B,)`, float64."""
    probabilities: np.ndarray
    """`(B,)`, float64, 0 to 1: the sigmoid of the logits; `Checkpoint.calibration` makes better ones of these."""


def predict_pairs(
    model: PPIClassifier,
    store: PatchStore,
    pairs: Pairs,
    *,
    precision: str = "float32",
    progress: bool = True,
) -> Prediction:
    """Score `pairs` in their order; each protein is encoded once.

    In `float32` a pair's logit does not depend on the pairs beside it; `bfloat16` and `auto` are faster and
    move it by some hundredths."""
    if not len(pairs):
        return Prediction(np.empty(0), np.empty(0))
    keep_freed_memory()
    dtype = resolve_precision(precision, model.encoder.cls_token.device)
    factors = encode_factors(model, store, pairs.proteins, dtype, progress)
    scorer = PairScorer(model, dtype)
    a, b = factors.places(pairs.a), factors.places(pairs.b)
    first, second = torch.minimum(a, b), torch.maximum(a, b)  # (A, B) and (B, A) are the same computation
    logits = torch.empty(len(a), dtype=torch.float64)
    bar = tqdm(total=len(a), desc="predict", unit="pair", disable=not progress)
    chunks = _by_protein(first, second, len(factors.proteins)).split(CHUNK)
    scored = scorer.score_all(factors, [(first[rows], second[rows]) for rows in chunks])
    for rows, scores in zip(chunks, scored, strict=True):
        logits[rows] = scores.double()
        bar.update(len(rows))
    bar.close()
    return Prediction(logits.numpy(), logits.sigmoid().numpy())


def _by_protein(a: Int[Tensor, " B"], b: Int[Tensor, " B"], proteins: int) -> Int[Tensor, " B"]:
    """Return an order of the pairs in which a chunk has few proteins, each with several pairs.

    The table of all pairs is cut into squares that hold about a chunk of the given ones, and these are taken square by
    square.
    """
    edge = max(1, int(proteins * (CHUNK / 2 / max(1, len(a))) ** 0.5))
    order = torch.argsort(b, stable=True)
    for key in (a, b // edge, a // edge):  # the last key counts most
        order = order[torch.argsort(key[order], stable=True)]
    return order


_WRITERS = {".parquet": "to_parquet", ".tsv": "to_csv", ".csv": "to_csv"}


def check_target(path: str | Path) -> None:
    """Raise `InputError` unless `path` is a file that scores can be written to."""
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise InputError(f"{path}: ends with {path.suffix!r}; expected {', '.join(_WRITERS)}.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected a file to write. Give a name in it.")


def write_predictions(
    pairs: Pairs,
    prediction: Prediction,
    threshold: float,
    path: Path,
    probabilities: np.ndarray | None = None,
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write `protein_a`, `protein_b`, `probability`, `logit` and `interacts`, in the pairs' order.

    `probabilities` are calibrated ones, in place of the prediction's own; `interacts` says that those reach
    `threshold`, so it doesn't change with the prevalence. `more` holds further columns.
    """
    check_target(path)
    table = pd.DataFrame(
        {
            "protein_a": pairs.a,
            "protein_b": pairs.b,
            "probability": prediction.probabilities if probabilities is None else probabilities,
            "logit": prediction.logits,
            "interacts": prediction.probabilities >= threshold,
            **(more or {}),
        }
    )
    options = {} if path.suffix == ".parquet" else {"sep": "\t" if path.suffix == ".tsv" else ","}
    write_atomically(path, lambda target: getattr(table, _WRITERS[path.suffix])(target, index=False, **options))
