"""A list of pairs in, the probability of each out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically
from ppi_lib.loop import resolve_precision
from ppi_lib.model import PPIClassifier
from ppi_lib.proteins import Pairs
from ppi_lib.store import PatchStore
from ppi_lib.tokens import encode_proteins, score_pairs


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
    dtype = resolve_precision(precision, model.encoder.cls_token.device)
    table = encode_proteins(model, store, pairs.proteins, dtype=dtype, progress=progress)
    logits = score_pairs(model, table, table.places(pairs.a), table.places(pairs.b), dtype=dtype).astype(np.float64)
    return Prediction(logits, torch.from_numpy(logits).sigmoid().numpy())


_WRITERS = {".parquet": "to_parquet", ".tsv": "to_csv", ".csv": "to_csv"}


def check_target(path: str | Path) -> None:
    """Raise `InputError` unless `path` is a file that scores can be written to."""
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise InputError(f"{path}: ends with {path.suffix!r}; expected {', '.join(_WRITERS)}.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist. Make it first.")


def write_predictions(
    pairs: Pairs, prediction: Prediction, threshold: float, path: Path, probabilities: np.ndarray | None = None
) -> None:
    """Write `protein_a`, `protein_b`, `probability`, `logit` and `interacts`, in the pairs' order.

    `probabilities` are calibrated ones, in place of the prediction's own; `interacts` says that those reach
    `threshold`, so it doesn't change with the prevalence.
    """
    check_target(path)
    table = pd.DataFrame(
        {
            "protein_a": pairs.a,
            "protein_b": pairs.b,
            "probability": prediction.probabilities if probabilities is None else probabilities,
            "logit": prediction.logits,
            "interacts": prediction.probabilities >= threshold,
        }
    )
    options = {} if path.suffix == ".parquet" else {"sep": "\t" if path.suffix == ".tsv" else ","}
    write_atomically(path, lambda target: getattr(table, _WRITERS[path.suffix])(target, index=False, **options))
