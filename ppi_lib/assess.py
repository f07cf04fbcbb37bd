"""A trained run on its test pairs: what it and the baselines score, kept beside the model."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.baselines import run_baselines
from ppi_lib.checkpoint import Checkpoint, load_checkpoint
from ppi_lib.datasets import Dataset
from ppi_lib.embed import embed_proteins
from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically
from ppi_lib.predict import predict_pairs
from ppi_lib.proteins import Pairs
from ppi_lib.report import Scored, evaluate_scored


class Assessment(NamedTuple):
    table: pd.DataFrame
    """As `report.evaluate_scored` makes it, the model first."""
    scores: pd.DataFrame
    """`split`, `protein_a`, `protein_b`, `label`, `logit`, and a column of probabilities for each row of `table`."""


def name_model(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.provenance.get('size', 'a')} cross-attention"


def score_model(checkpoint: Checkpoint, store, data: Dataset, *, progress: bool = True) -> tuple[Scored, np.ndarray]:
    """Return the model's calibrated probabilities, and its logits, those of validation first."""
    logits = [
        predict_pairs(checkpoint.model, store, pairs, progress=progress).logits
        for pairs in (data.validation, data.test)
    ]
    validation, test = map(checkpoint.calibration.probabilities, logits)
    return Scored(name_model(checkpoint), "ours", test, validation), np.concatenate(logits)


def assess_run(
    run: Path,
    data: Dataset,
    *,
    baselines: bool,
    store: Path | None = None,
    embedder: str | None = None,
    progress: bool = True,
    draws: int = 1000,
) -> Assessment:
    """Score validation and test pairs, and write `evaluation.csv` and `scores.parquet` to the run's folder.

    The embeddings are those of `store`, by default the run's own; what it lacks is embedded (`embed.embed_proteins`).
    """
    checkpoint = load_checkpoint(run)
    place = store or run / "store"
    store = embed_proteins(data.proteins, place, embedder=embedder, wanted=checkpoint.embedding, progress=progress)
    model, logits = score_model(checkpoint, store, data, progress=progress)
    scored = [model]
    if baselines:
        pooled = {protein: store[protein].mean(axis=0) for protein in data.proteins.sequences}
        found = run_baselines(data.proteins.sequences, data.train, data.validation, data.test, pooled=pooled)
        scored += [Scored(b.name, "baseline", b.probabilities, b.validation_probabilities) for b in found]
    table = evaluate_scored(scored, data.validation, data.test, draws=draws)
    scores = _gather(scored, logits, data.validation, data.test)
    write_atomically(run / "evaluation.csv", lambda path: table.to_csv(path, index=False))
    write_atomically(run / "scores.parquet", lambda path: scores.to_parquet(path, index=False))
    return Assessment(table, scores)


def _gather(scored: list[Scored], logits: np.ndarray, validation: Pairs, test: Pairs) -> pd.DataFrame:
    parts = {"validation": validation, "test": test}
    columns = {
        "split": np.repeat(list(parts), [len(pairs) for pairs in parts.values()]),
        "protein_a": np.concatenate([pairs.a for pairs in parts.values()]),
        "protein_b": np.concatenate([pairs.b for pairs in parts.values()]),
        "label": np.concatenate([pairs.labels for pairs in parts.values()]),
        "logit": logits,
    }
    return pd.DataFrame(
        {**columns, **{one.name: np.concatenate([one.validation_probabilities, one.probabilities]) for one in scored}}
    )


def load_assessment(run: Path) -> Assessment:
    """Read what `assess_run` wrote."""
    paths = run / "evaluation.csv", run / "scores.parquet"
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file. Make it with `ppi evaluate {run} --baselines`.")
    return Assessment(pd.read_csv(paths[0]), pd.read_parquet(paths[1]))


def is_of(assessment: Assessment, checkpoint: Checkpoint) -> bool:
    """Say if these are the scores of this model, and not of one that was trained here before it."""
    given = assessment.scores[assessment.table["name"].iloc[0]]
    return np.allclose(checkpoint.calibration.probabilities(assessment.scores["logit"]), given, atol=1e-6)


def has_baselines(run: Path) -> bool:
    """Say if the model in the run was evaluated, and its baselines with it."""
    try:
        found = load_assessment(run)
    except InputError:
        return False
    return bool((found.table["group"] == "baseline").any()) and is_of(found, load_checkpoint(run))
