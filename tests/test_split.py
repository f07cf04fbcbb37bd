"""Splits: no protein or cluster in two groups, every pair accounted for, classes that are what they say."""

import numpy as np
import pandas as pd
import pytest
from test_proteins import make_pairs, random_pairs, rows_of

from ppi_lib.audit import seen_classes
from ppi_lib.errors import InputError
from ppi_lib.proteins import overlap_notes
from ppi_lib.split import split_by_class, split_by_protein


def test_a_split_by_protein_shares_none_and_accounts_for_every_pair():
    pairs = random_pairs(3000, 100)
    splits = split_by_protein(pairs, seed=3)
    assert overlap_notes(*splits) == ()
    kept = [len(split) for split in splits]
    assert kept[0] > 4 * kept[1] > 0
    assert f"{3000 - sum(kept):,} of 3,000 pairs" in splits.train.notes[-1]
    assert set(rows_of(splits.test)) <= set(rows_of(pairs))
    again, other = split_by_protein(pairs, seed=3), split_by_protein(pairs, seed=4)
    assert rows_of(again.train) == rows_of(splits.train)
    assert rows_of(other.train) != rows_of(splits.train)


def test_clusters_stay_whole_and_the_fractions_hold():
    pairs = random_pairs(6000, 200)
    clusters = pd.Series(np.random.default_rng(0).integers(0, 60, 200), index=[f"P{i}" for i in range(200)])
    splits = split_by_protein(pairs, clusters=clusters, seed=0)
    groups = [set(clusters[list(split.proteins)]) for split in splits]
    assert groups[0].isdisjoint(groups[1] | groups[2])
    assert groups[1].isdisjoint(groups[2])
    shares = np.array([len(split.proteins) for split in splits]) / 200
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.03)
    assert "homology clusters dealt whole (seed 0)" in splits.train.notes[-1]
    assert rows_of(split_by_protein(pairs, clusters=clusters, seed=0).test) == rows_of(splits.test)


def test_tests_by_class_hold_what_their_names_say():
    pairs = random_pairs(6000, 100)
    splits, tests = split_by_class(pairs, seed=1)
    for name, part in (("C1", tests.both), ("C2", tests.one), ("C3", tests.none)):
        assert set(seen_classes(splits.train, part)) == {name}
    assert rows_of(tests.none) == rows_of(splits.test)
    whole = split_by_protein(pairs, seed=1)
    assert sorted(rows_of(splits.train) + rows_of(tests.both)) == sorted(rows_of(whole.train))
    assert len(tests.both) == round(0.1 * len(whole.train))
    assert set(tests.one.proteins) <= {*splits.train.proteins, *splits.test.proteins}


def test_a_split_that_cannot_be_trained_on_is_refused():
    selves = make_pairs(*((f"a{i}", f"a{i}", i % 2) for i in range(6)))
    with pytest.raises(InputError, match=r"validation split .*another seed"):
        split_by_protein(selves, fractions=(0.6, 0.1, 0.3), seed=0)
    with pytest.raises(InputError, match=r"fractions is .*expected three positive"):
        split_by_protein(random_pairs(10, 5), fractions=(1.0, 1.0, 1.0), seed=0)
    with pytest.raises(InputError, match="seed is -1; expected 0 or more"):
        split_by_protein(random_pairs(10, 5), seed=-1)
    with pytest.raises(InputError, match="clusters lack 4 proteins of the pairs, such as P1"):
        split_by_protein(random_pairs(30, 5), clusters=pd.Series({"P0": 0}), seed=0)
    alike = pd.Series({f"P{i}": int(i == 0) for i in range(20)})
    with pytest.raises(InputError, match="largest cluster holds 19 of 20 proteins, more than train's 60%"):
        split_by_protein(random_pairs(200, 20), clusters=alike, seed=0)


def test_positives_alone_are_split_too():
    positives = make_pairs(*((f"P{i}", f"P{j}", 1) for i in range(20) for j in range(i)))
    splits = split_by_protein(positives, seed=0)
    assert all(len(split) for split in splits)
    with pytest.raises(InputError, match="split is empty"):
        split_by_protein(make_pairs(("a", "b", 1), ("a", "c", 1)), seed=0)
