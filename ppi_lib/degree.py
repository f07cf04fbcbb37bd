"""How far one gets without biology: scores of a pair that never look at what a protein is made of.

Park and Marcotte (2012, Nat Methods 9:1134) and Lannelongue and Inouye (2024, Bioinformatics, btae012) showed that
such scores explain much of what is published. Each is worth .5 on a sound test.

Shape letters: B pairs, N proteins.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.proteins import Pairs

HUB_SHARE = 0.1
"""Hubs are the tenth of the proteins with most partners."""


class Partners(NamedTuple):
    """What training tells of each protein, by id; proteins that aren't in it count as 0 everywhere."""

    pairs: pd.Series
    """Pairs that it stands in."""
    positives: pd.Series
    """Those that are positive."""


def count_partners(pairs: Pairs) -> Partners:
    """Count each protein's pairs, a pair with itself once."""
    other = pairs.a != pairs.b
    ids = np.concatenate([pairs.a, pairs.b[other]])
    labels = np.concatenate([pairs.labels, pairs.labels[other]])
    table = pd.Series(labels.astype(float)).groupby(ids).agg(["size", "sum"])
    return Partners(table["size"].astype(int), table["sum"].astype(int))


def _sides(values: pd.Series, pairs: Pairs, missing: float = 0) -> tuple[np.ndarray, np.ndarray]:
    return tuple(values.reindex(ids, fill_value=missing).to_numpy(dtype=float) for ids in (pairs.a, pairs.b))


def sum_of_logs(values: pd.Series, pairs: Pairs) -> np.ndarray:
    """Return log(1 + n_A) + log(1 + n_B) `(B,)`."""
    a, b = _sides(values, pairs)
    return np.log1p(a) + np.log1p(b)


def find_hubs(counts: pd.Series) -> set[str]:
    """Return the tenth with most partners and what has as many as its last, but none of no more than the median."""
    if counts.empty:
        return set()
    return set(counts.index[(counts >= counts.quantile(1 - HUB_SHARE)) & (counts > counts.median())])


def count_among(chosen: set[str], pairs: Pairs) -> np.ndarray:
    """Return how many of a pair's two proteins are among the `chosen` ones, such as the hubs `(B,)`."""
    return np.array([(a in chosen) + (b in chosen) for a, b in zip(pairs.a, pairs.b, strict=True)], dtype=int)


def positive_ratio(partners: Partners, pairs: Pairs) -> np.ndarray:
    """Return the mean share of positives among both proteins' training pairs `(B,)`, drawn to a half where few."""
    share = (partners.positives + 1) / (partners.pairs + 2)
    a, b = _sides(share, pairs, 0.5)
    return (a + b) / 2


def scores_without_biology(train: Pairs, pairs: Pairs, sequences: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return what each way of not looking says of `pairs` `(B,)`; higher means rather positive.

    Whether a pair is of a protein with itself is asked where there are such pairs: drawn negatives never are.
    """
    partners = count_partners(train)
    lengths = pd.Series({protein: len(sequences[protein]) for protein in pairs.proteins})
    itself = (pairs.a == pairs.b).astype(float)
    return {
        "positive training partners": sum_of_logs(partners.positives, pairs),
        "training pairs of either label": sum_of_logs(partners.pairs, pairs),
        "share of positive training pairs": positive_ratio(partners, pairs),
        "hubs of training": count_among(find_hubs(partners.positives), pairs).astype(float),
        "length": sum_of_logs(lengths, pairs),
    } | ({"being of a protein with itself": itself} if itself.any() else {})
