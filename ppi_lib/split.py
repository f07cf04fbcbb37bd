"""Splits of one's own pairs: by protein, whole clusters together, with tests of each of Park and Marcotte's classes.

Proteins are dealt to train, validation and test, and a pair is kept if both of its proteins went to one group, so a
test pair is of class C3: no protein seen. Those between train and test proteins can be kept as a C2 test, and a share
of the training pairs held out as a C1 test (Park and Marcotte 2012, Nat Methods 9:1134).

The choice worth knowing: proteins are dealt by cluster, the largest first, each to the group that lacks most, so that
no test protein has a near neighbour in train, as far as `homology` finds them.

Shape letters: B pairs, N proteins.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs, PairSplits, check_classes, check_seed

FRACTIONS = (0.6, 0.2, 0.2)
_C1_SHARE = 0.1


class ClassTests(NamedTuple):
    """Test pairs by how many of their proteins were seen in training."""

    both: Pairs
    """C1; these are no longer among the training pairs."""
    one: Pairs
    """C2."""
    none: Pairs
    """C3, the test of the split itself."""


def _check_fractions(fractions: tuple[float, ...]) -> None:
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(
            f"fractions is {fractions}; expected three positive numbers with sum 1, such as 0.6, 0.2, 0.2."
        )


def _deal_proteins(count: int, fractions: tuple[float, ...], generator: np.random.Generator) -> np.ndarray:
    """Return a group for each of `count` proteins, at random."""
    groups = np.empty(count, dtype=int)
    bounds = np.round(np.cumsum(fractions)[:2] * count).astype(int)
    groups[generator.permutation(count)] = np.digitize(np.arange(count), bounds)
    return groups


def _deal_clusters(clusters: np.ndarray, fractions: tuple[float, ...], generator: np.random.Generator) -> np.ndarray:
    """Return a group for each protein, the same within a cluster: the largest first, to the group that lacks most."""
    _, cluster = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(cluster)
    if sizes.max() > fractions[0] * len(cluster):
        raise InputError(
            f"The largest cluster holds {sizes.max():,} of {len(cluster):,} proteins, more than train's "
            f"{fractions[0]:.0%}. Cluster at a higher identity or coverage."
        )
    shuffled = generator.permutation(len(sizes))
    lacking, group = np.array(fractions) * len(cluster), np.empty(len(sizes), dtype=int)
    for one in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        group[one] = np.argmax(lacking)
        lacking[group[one]] -= sizes[one]
    return group[cluster]


def _deal(pairs: Pairs, fractions, clusters: pd.Series | None, seed: int) -> tuple[pd.Series, str]:
    """Return the group of each protein, and how it was dealt."""
    check_seed(seed)
    _check_fractions(fractions)
    ids, generator = list(pairs.proteins), np.random.default_rng(seed)
    if clusters is None:
        how = f"{len(ids):,} proteins dealt at random (seed {seed}) to train, validation and test"
        return pd.Series(_deal_proteins(len(ids), fractions, generator), index=ids), how
    missing = [protein for protein in ids if protein not in clusters.index]
    if missing:
        raise InputError(
            f"clusters lack {len(missing):,} proteins of the pairs, such as {missing[0]}; expected every one. "
            "Cluster all proteins of the pairs."
        )
    mine = clusters.loc[ids].to_numpy()
    how = (
        f"{len(ids):,} proteins in {len(set(mine)):,} homology clusters dealt whole (seed {seed}) to train, validation "
        "and test"
    )
    return pd.Series(_deal_clusters(mine, fractions, generator), index=ids), how


def _check_part(part: Pairs, pairs: Pairs, name: str) -> None:
    """Raise `InputError` if a part lacks what the whole has."""
    if pairs.labels is not None and 0 < pairs.labels.mean() < 1:
        check_classes(part, name)
    elif not len(part):
        raise InputError(f"The {name} split is empty; expected pairs. Give more of them, or another seed.")


def split_by_protein(
    pairs: Pairs,
    *,
    fractions: tuple[float, float, float] = FRACTIONS,
    clusters: pd.Series | None = None,
    seed: int,
) -> PairSplits:
    """Deal the proteins to train, validation and test by `fractions`, and keep the pairs within a group.

    With `clusters` (a number for each protein, see `homology.cluster_proteins`) whole clusters are dealt. Pairs go with
    the square of a fraction: the default keeps 0.36, 0.04 and 0.04 of them, which is 82%, 9% and 9% of what's kept.
    Those across groups are dropped, as they'd leak; `train.notes` counts them.
    """
    group, how = _deal(pairs, fractions, clusters, seed)
    a, b = group.loc[pairs.a].to_numpy(), group.loc[pairs.b].to_numpy()
    splits = PairSplits(*(pairs.take(np.flatnonzero((a == i) & (b == i))) for i in range(3)))
    for name, split in zip(splits._fields, splits, strict=True):
        _check_part(split, pairs, name)
    kept = ", ".join(f"{len(split):,}" for split in splits)
    note = f"{how}; {(a != b).sum():,} of {len(pairs):,} pairs across them dropped, {kept} kept."
    return splits._replace(train=replace(splits.train, notes=(*pairs.notes, note)))


def split_by_class(
    pairs: Pairs,
    *,
    fractions: tuple[float, float, float] = FRACTIONS,
    clusters: pd.Series | None = None,
    seed: int,
) -> tuple[PairSplits, ClassTests]:
    """Split as `split_by_protein` does, with tests of the classes C1, C2 and C3.

    A tenth of the training pairs, whose proteins all stand in other training pairs too, becomes C1.
    """
    splits = split_by_protein(pairs, fractions=fractions, clusters=clusters, seed=seed)
    train, test = set(splits.train.proteins), set(splits.test.proteins)
    held = _hold_out_seen(splits.train, np.random.default_rng((seed, 1)))
    both = splits.train.take(np.flatnonzero(held))
    kept = replace(splits.train.take(np.flatnonzero(~held)), notes=splits.train.notes)
    sides = [(one in train, other in test) for one, other in zip(pairs.a, pairs.b, strict=True)]
    turned = [(one in train, other in test) for one, other in zip(pairs.b, pairs.a, strict=True)]
    across = np.array([all(x) or all(y) for x, y in zip(sides, turned, strict=True)])
    one = pairs.take(np.flatnonzero(across))
    for name, part in (("C1 test", both), ("C2 test", one)):
        _check_part(part, pairs, name)
    note = f"Tests by class: {len(both):,} pairs C1 (taken out of train), {len(one):,} C2, {len(splits.test):,} C3."
    kept = replace(kept, notes=(*kept.notes, note))
    return splits._replace(train=kept), ClassTests(both, one, splits.test)


def _hold_out_seen(train: Pairs, generator: np.random.Generator) -> np.ndarray:
    """Choose up to a tenth of the pairs `(B,)`, each only if its proteins keep another pair."""
    left = pd.Series(np.concatenate([train.a, train.b[train.a != train.b]])).value_counts()
    held, wanted = np.zeros(len(train), dtype=bool), round(_C1_SHARE * len(train))
    for place in generator.permutation(len(train)):
        ids = {train.a[place], train.b[place]}
        if held.sum() >= wanted:
            break
        if all(left[one] > 1 for one in ids):
            held[place] = True
            for one in ids:
                left[one] -= 1
    return held
