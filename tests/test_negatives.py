"""Negatives: what each scheme promises, whatever the scheme none is wrong, and no more than there are."""

from collections import Counter

import numpy as np
import pytest
from test_proteins import make_pairs

from ppi_lib.degree import count_partners, sum_of_logs
from ppi_lib.errors import InputError
from ppi_lib.evaluate import compute_metrics
from ppi_lib.negatives import SCHEMES, draw_negatives


@pytest.fixture(scope="module")
def positives():
    """300 pairs of 120 proteins, some of which stand in far more pairs than others."""
    rng = np.random.default_rng(0)
    weight = rng.lognormal(0, 1, 120)
    drawn = {tuple(sorted(rng.choice(120, 2, replace=False, p=weight / weight.sum()))) for _ in range(400)}
    return make_pairs(*((f"P{a}", f"P{b}", 1) for a, b in sorted(drawn)[:300]))


@pytest.fixture(scope="module")
def places(positives):
    return {one: {("nucleus", "membrane", "cytosol")[int(one[1:]) % 3]} for one in positives.proteins}


def keys(pairs, label):
    rows = zip(pairs.a[pairs.labels == label], pairs.b[pairs.labels == label], strict=True)
    return Counter(tuple(sorted(row)) for row in rows)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ratio", [1, 3])
def test_no_negative_is_wrong(positives, places, scheme, ratio):
    compartments = places if scheme == "compartment" else None
    result = draw_negatives(positives, scheme=scheme, ratio=ratio, compartments=compartments, seed=2)
    known, drawn = keys(result, 1), keys(result, 0)
    assert known == keys(positives, 1)
    assert drawn.total() == ratio * len(positives)
    assert max(drawn.values()) == 1
    assert not known.keys() & drawn.keys()
    assert all(a != b for a, b in drawn)
    assert f"scheme '{scheme}', {ratio} for each positive (seed 2)" in result.notes[-1]


def test_ten_to_one(places):
    positives = make_pairs(*((f"P{i}", f"P{i + 1}", 1) for i in range(60)))
    result = draw_negatives(positives, scheme="degree", ratio=10)
    assert result.labels.mean() == pytest.approx(1 / 11)


def test_matched_negatives_have_each_protein_as_often(positives):
    result = draw_negatives(positives, scheme="degree", ratio=1)
    assert "exactly" not in result.notes[-1]
    often = [Counter([*result.a[result.labels == i], *result.b[result.labels == i]]) for i in (0, 1)]
    assert often[0] == often[1]


def test_what_cannot_be_matched_is_drawn_by_degree_and_said():
    """A hub with 14 of 19 others as partners has 5 left for its negatives."""
    rows = [("H", f"P{i}", 1) for i in range(14)] + [(f"P{i}", f"P{i + 1}", 1) for i in range(18)]
    result = draw_negatives(make_pairs(*rows), scheme="degree")
    assert "could not match the degrees exactly" in result.notes[-1]
    assert (result.labels == 0).sum() == 32


def test_degree_tells_uniform_negatives_and_not_matched_ones(positives):
    found = {}
    for scheme in ("uniform", "degree"):
        result = draw_negatives(positives, scheme=scheme)
        scores = sum_of_logs(count_partners(positives).pairs, result)
        found[scheme] = compute_metrics(result.labels, scores / scores.max(), 0.5).auroc
    assert found["uniform"] > 0.7
    assert found["degree"] == pytest.approx(0.5, abs=0.06)


def test_compartments_are_shared(positives, places):
    result = draw_negatives(positives, scheme="compartment", compartments=places)
    assert all(places[a] & places[b] for a, b in keys(result, 0))


def test_a_seed_repeats(positives):
    one, two, other = (draw_negatives(positives, seed=seed) for seed in (0, 0, 1))
    assert keys(one, 0) == keys(two, 0) != keys(other, 0)
    assert one.a.tolist() == two.a.tolist()


def test_positives_of_a_protein_with_itself_are_said():
    pairs = make_pairs(("P0", "P0", 1), *((f"P{i}", f"P{i + 1}", 1) for i in range(20)))
    drawn = draw_negatives(pairs, scheme="uniform")
    assert "1 positives are of a protein with itself" in drawn.notes[-1]


def test_bad_input_is_named(positives, places):
    with pytest.raises(InputError, match="scheme is 'random'; expected one of uniform, degree, compartment"):
        draw_negatives(positives, scheme="random")
    with pytest.raises(InputError, match="expected compartments with 'compartment', and only then"):
        draw_negatives(positives, scheme="compartment")
    with pytest.raises(InputError, match="compartments lack 1 proteins of the pairs, such as P0"):
        draw_negatives(positives, scheme="compartment", compartments={k: v for k, v in places.items() if k != "P0"})
    with pytest.raises(InputError, match="ratio is 0"):
        draw_negatives(positives, ratio=0)
    with pytest.raises(InputError, match="1 pairs are labelled 0"):
        draw_negatives(make_pairs(("a", "b", 0), ("b", "c", 1)))
    every = make_pairs(*((f"P{i}", f"P{j}", 1) for i in range(8) for j in range(i)))
    for scheme in ("uniform", "degree"):
        with pytest.raises(InputError, match="28 negatives asked for, 0 found"):
            draw_negatives(every, scheme=scheme)
