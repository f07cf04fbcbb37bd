"""How good a model is on parts of its test: by what was seen before, by hubs, by length, by homology.

One number for all pairs hides that the easy ones carry it. A part of one class has no AUROC: it is named and left out,
and a part with fewer than ten pairs of a class is kept, with a warning.

Shape letters: B pairs.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.degree import count_among, count_partners, find_hubs
from ppi_lib.errors import InputError
from ppi_lib.evaluate import bootstrap_intervals
from ppi_lib.proteins import Pairs
from ppi_lib.resample import FEW

_ENDS = {"": "value", "_low": "low", "_high": "high"}
SHOWN = ("auroc", "auprc", "auprc_1_10", "mcc", "pp_mcc", "ece")


class Strata(NamedTuple):
    table: pd.DataFrame
    """`by`, `stratum`, `pairs`, `positives`, and for each of `SHOWN` its value, `_low` and `_high`."""
    notes: tuple[str, ...]
    """A sentence for each stratum that is left out, or that has few pairs of a class."""


def assign_strata(
    pairs: Pairs, sequences: Mapping[str, str], classes: np.ndarray, near: set[str] | None = None
) -> pd.DataFrame:
    """Return the stratum of each pair by `class`, `hubs`, `length` and, if `near` is given, `homology` `(B, 4)`.

    `classes` is what `audit.seen_classes` says, `near` holds the proteins with a near neighbour in training. Hubs are
    the tenth of the proteins with most of these pairs; length is that of a pair's longer protein, in thirds.
    """
    hubs = find_hubs(count_partners(pairs).pairs)
    longest = np.array([max(len(sequences[a]), len(sequences[b])) for a, b in zip(pairs.a, pairs.b, strict=True)])
    low, high = np.quantile(longest, [1 / 3, 2 / 3]).round().astype(int)
    names = np.array([f"up to {low:,}", f"{low + 1:,} to {high:,}", f"above {high:,}"], dtype=object)
    table = {
        "class": classes,
        "hubs": np.array(["no hub", "one hub", "two hubs"], dtype=object)[count_among(hubs, pairs)],
        "length": names[(longest > low).astype(int) + (longest > high)],
    }
    if near is not None:
        table["homology"] = np.array(["no near", "one near", "two near"], dtype=object)[count_among(near, pairs)]
    return pd.DataFrame(table)


def evaluate_strata(
    strata: pd.DataFrame, labels, probabilities, proteins_a, proteins_b, threshold: float, *, draws=1000, seed=0
) -> Strata:
    """Return metrics with protein-level intervals for each stratum of each column of `strata`."""
    y, p, a, b = map(np.asarray, (labels, probabilities, proteins_a, proteins_b))
    if len(strata) != len(y):
        raise InputError(f"strata have {len(strata):,} rows, labels {len(y):,}; expected one of each per pair.")
    rows, notes = [], []
    for by in strata:
        for stratum, places in sorted(strata.groupby(by).indices.items()):
            positives, count = int(y[places].sum()), len(places)
            rarer = min(positives, count - positives)
            if rarer < FEW:
                what = (
                    "left out, as it has one class" if rarer == 0 else f"its interval is a guess, {rarer} of one class"
                )
                notes.append(f"{by}, {stratum}: {what} ({positives:,} positives of {count:,} pairs).")
            if rarer == 0:
                continue
            found = bootstrap_intervals(y[places], p[places], a[places], b[places], threshold, draws=draws, seed=seed)
            values = {f"{name}{end}": getattr(found[name], part) for name in SHOWN for end, part in _ENDS.items()}
            rows.append({"by": by, "stratum": stratum, "pairs": count, "positives": positives, **values})
    ends = [f"{name}{end}" for name in SHOWN for end in _ENDS]
    return Strata(pd.DataFrame(rows, columns=["by", "stratum", "pairs", "positives", *ends]), tuple(notes))
