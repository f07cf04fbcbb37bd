"""How good a model is on parts of its test: by what was seen before, by hubs, by length, by identity to what was seen.

One number for all pairs hides that the easy ones carry it. A part of one class has no AUROC: it is named and left out,
and a part with fewer than ten pairs of a class is kept, with a warning.

Shape letters: B pairs.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.degree import count_among, count_partners, find_hubs
from ppi_lib.errors import InputError
from ppi_lib.evaluate import bootstrap_intervals
from ppi_lib.homology import IDENTITY
from ppi_lib.proteins import Pairs
from ppi_lib.resample import FEW

_ALIKE = 0.7
_ENDS = {"": "value", "_low": "low", "_high": "high"}
SHOWN = ("auroc", "auprc", "auprc_1_10", "mcc", "pp_mcc", "ece")


class Strata(NamedTuple):
    table: pd.DataFrame
    """`by`, `stratum`, `pairs`, `positives`, and for each of `SHOWN` its value, `_low` and `_high`."""
    notes: tuple[str, ...]
    """A sentence for each stratum that is left out, or that has few pairs of a class."""


def assign_strata(
    pairs: Pairs,
    sequences: Mapping[str, str],
    classes: np.ndarray,
    nearest: Mapping[str, float] | None = None,
    least: float = IDENTITY,
) -> pd.DataFrame:
    """Return the stratum of each pair by `class`, `hubs`, `length` and, if `nearest` is given, `identity` `(B, 4)`.

    `classes` is what `audit.seen_classes` says. Hubs are the tenth of the proteins with most of these pairs; length is
    that of a pair's longer protein, in thirds. `nearest` holds each protein's highest identity to one that was seen: 1
    for one that was seen itself, 0 for one without a neighbour of at least `least`. A pair is as near as the nearer of
    its two proteins; if one of them is not in `nearest`, it is in no stratum of identity (None).
    """
    hubs = find_hubs(count_partners(pairs).pairs)
    longest = np.array([max(len(sequences[a]), len(sequences[b])) for a, b in zip(pairs.a, pairs.b, strict=True)])
    low, high = np.quantile(longest, [1 / 3, 2 / 3]).round().astype(int)
    names = np.array([f"short (up to {low:,})", "medium", f"long (above {high:,})"], dtype=object)
    table = {
        "class": classes,
        "hubs": np.array(["no hub", "one hub", "two hubs"], dtype=object)[count_among(hubs, pairs)],
        "length": names[(longest > low).astype(int) + (longest > high)],
    }
    if nearest is not None:
        both = np.array([[nearest.get(protein, np.nan) for protein in side] for side in (pairs.a, pairs.b)])
        found = np.maximum(*both)  # NaN if one of them is
        names = f"below {least:.0%}", f"{least:.0%} to {_ALIKE:.0%}", f"from {_ALIKE:.0%} on", None  # NaN sorts last
        table["identity"] = np.array(names, dtype=object)[np.searchsorted([least, _ALIKE, np.inf], found, side="right")]
    return pd.DataFrame(table)


def _warn(by: str, stratum: str, places: np.ndarray, y: np.ndarray) -> str:
    """Say what is wrong with a stratum, if anything."""
    count, positives = len(places), int(y[places].sum())
    rarer = min(positives, count - positives)
    if rarer >= FEW:
        return ""
    what = f"its interval is a guess, {rarer} of one class" if rarer else "left out, as it has one class"
    return f"{by}, {stratum}: {what} ({positives:,} positives of {count:,} pairs)."


def evaluate_strata(
    strata: pd.DataFrame, labels, probabilities, proteins_a, proteins_b, threshold: float, *, draws=1000, seed=0
) -> Strata:
    """Return metrics with protein-level intervals for each stratum of each column of `strata`, but None."""
    y, p, a, b = map(np.asarray, (labels, probabilities, proteins_a, proteins_b))
    if len(strata) != len(y):
        raise InputError(f"strata have {len(strata):,} rows, labels {len(y):,}; expected one of each per pair.")
    parts = [(by, *part) for by in strata for part in sorted(strata.groupby(by).indices.items())]

    def measure(part: tuple) -> dict:
        by, stratum, places = part
        found = bootstrap_intervals(y[places], p[places], a[places], b[places], threshold, draws=draws, seed=seed)
        values = {f"{name}{end}": getattr(found[name], field) for name in SHOWN for end, field in _ENDS.items()}
        return {"by": by, "stratum": stratum, "pairs": len(places), "positives": int(y[places].sum()), **values}

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the arithmetic runs outside Python's lock
        rows = list(pool.map(measure, [part for part in parts if 0 < y[part[2]].mean() < 1]))
    notes = [f"{by}: {n:,} of {len(y):,} pairs are in no stratum." for by, n in strata.isna().sum().items() if n]
    notes += [note for part in parts if (note := _warn(*part, y))]
    ends = [f"{name}{end}" for name in SHOWN for end in _ENDS]
    return Strata(pd.DataFrame(rows, columns=["by", "stratum", "pairs", "positives", *ends]), tuple(notes))
