"""A model beside its baselines and what others published: one table, the same pairs, the same intervals."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.errors import InputError
from ppi_lib.evaluate import best_threshold, bootstrap_intervals, compute_metrics
from ppi_lib.proteins import Pairs

INTERVALS = (
    *("auroc", "auprc", "auprc_1_10", "precision_at_100", "recall_at_fdr_10"),
    *("accuracy", "f1", "precision", "recall", "mcc", "pp_mcc", "brier", "ece"),
)


class Scored(NamedTuple):
    """The probabilities that one predictor gives to the validation and the test pairs."""

    name: str
    group: str
    """`ours` or `baseline`."""
    probabilities: np.ndarray
    validation_probabilities: np.ndarray


# Test pairs, and AUROC and AUPRC on them: bernett (Bernett et al. 2024, Brief Bioinform 25:bbae076), from the papers of
# the methods and later comparisons on the same split.
_PUBLISHED = {
    ("bernett", 52_048): (
        ("X-PAIR (language model)", 0.711, 0.699),
        ("TUnA (language model)", 0.703, 0.692),
        ("PLM-interact (language model)", 0.698, 0.687),
        ("ESM2-MLP (language model)", 0.696, 0.680),
        ("RAPPPID", 0.607, 0.584),
        ("PIPR", 0.532, 0.528),
        ("SPRINT", 0.524, 0.523),
        ("D-SCRIPT", 0.499, 0.510),
    )
}


def published_results(dataset: str, pairs: int) -> pd.DataFrame:
    """Return `name`, `group`, `auroc` and `auprc` of published results on that many test pairs, empty where none are.

    The number tells the dataset from a part of it, or another of the same name.
    """
    rows = [(name, "published", auroc, auprc) for name, auroc, auprc in _PUBLISHED.get((dataset, pairs), ())]
    return pd.DataFrame(rows, columns=["name", "group", "auroc", "auprc"])


def evaluate_scored(
    scored: Sequence[Scored], validation: Pairs, test: Pairs, *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return a row for each predictor: every metric on `test` with its protein-level 95% interval.

    The threshold of each is the one with the highest MCC on `validation`. Columns: `name`, `group`, the fields of
    `Metrics`, and `<metric>_low`, `<metric>_high`.
    """

    def measure(one: Scored) -> dict:
        threshold = best_threshold(validation.labels, one.validation_probabilities)
        metrics = compute_metrics(test.labels, one.probabilities, threshold, test.a, test.b)
        intervals = bootstrap_intervals(
            test.labels, one.probabilities, test.a, test.b, threshold, draws=draws, seed=seed
        )
        bounds = {f"{k}_{end}": getattr(intervals[k], end) for k in INTERVALS for end in ("low", "high")}
        return {"name": one.name, "group": one.group, **metrics._asdict(), **bounds}

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the arithmetic runs outside Python's lock
        return pd.DataFrame(list(pool.map(measure, scored)))


def across_seeds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return for each predictor the mean, and as `<metric>_sd` the spread, of each metric over runs of several seeds.

    The spread is of the training, on the same test; an interval of `evaluate_scored` is of the test, for one training.
    """
    names = [list(table["name"]) for table in tables]
    if len(tables) < 2 or any(one != names[0] for one in names):
        raise InputError(
            f"tables are {len(tables)}, with {len({tuple(one) for one in names})} sets of names; expected at least two "
            "of the same predictors in the same order, a table for each seed."
        )
    grouped = pd.concat(tables).groupby("name", sort=False)[list(INTERVALS)]
    spread = grouped.std(ddof=1).add_suffix("_sd")
    return pd.concat([grouped.mean(), spread], axis=1).assign(seeds=len(tables)).reset_index()


def comparison(table: pd.DataFrame, dataset: str, metric: str = "auroc") -> pd.DataFrame:
    """Return `name`, `value`, `low`, `high`, `group` of all rows and what is published, for `plot_comparison`."""
    both = pd.concat([table, published_results(dataset, int(table["pairs"].iloc[0]))], ignore_index=True)
    columns = {metric: "value", f"{metric}_low": "low", f"{metric}_high": "high"}
    return both.rename(columns=columns)[["name", "value", "low", "high", "group"]]


def format_table(table: pd.DataFrame) -> str:
    """Return the table as text for a terminal, best AUROC first: `0.676 [0.661, 0.690]`."""
    shown = ("auroc", "auprc", "mcc")
    width = table["name"].str.len().max()
    lines = [f"{'':{width}} " + " ".join(f"{name.upper():>22}" for name in shown)]
    for row in table.sort_values("auroc", ascending=False).to_dict("records"):
        cells = (f"{row[k]:.3f} [{row[f'{k}_low']:.3f}, {row[f'{k}_high']:.3f}]" for k in shown)
        lines.append(f"{row['name']:{width}} " + " ".join(f"{cell:>22}" for cell in cells))
    first = table.iloc[0]
    lines.append(
        f"{int(first['pairs']):,} test pairs, {first['prevalence']:.1%} positive; 95% intervals over proteins."
    )
    return "\n".join(lines)
