"""Baselines: features worked out by hand, and models that find what is there and nothing else."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from ppi_lib.baselines import (
    biophysical_features,
    composition_features,
    constant_baseline,
    degree_baseline,
    hub_baseline,
    interolog_baseline,
    pair_features,
    run_baselines,
)
from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs
from ppi_lib.scales import STANDARD


@pytest.fixture(autouse=True)
def one_thread():
    """Toy fits on several threads wait for each other far longer than they compute."""
    with threadpool_limits(1):
        yield


def make_pairs(a, b, labels) -> Pairs:
    return Pairs(a=np.array(a, dtype=object), b=np.array(b, dtype=object), labels=np.array(labels), notes=())


def _pairs(*rows):
    a, b, labels = zip(*rows, strict=True)
    return make_pairs(a, b, np.array(labels, dtype=float))


@pytest.fixture(scope="module")
def toy():
    """90 proteins, half rich in K: a pair interacts when both are; no protein in two splits."""
    rng = np.random.default_rng(0)
    rich = rng.random(90) < 0.5
    letters = [list(STANDARD + "K" * 10) if flag else list(STANDARD) for flag in rich]
    sequences = {f"P{i}": "".join(rng.choice(letters[i], 120)) for i in range(90)}
    splits = []
    for low in (0, 30, 60):
        a, b = rng.integers(low, low + 30, (2, 300))
        names = [np.array([f"P{i}" for i in side]) for side in (a, b)]
        splits.append(make_pairs(*names, (rich[a] & rich[b]).astype(float)))
    return sequences, splits


def test_composition_by_hand():
    table = composition_features({"P1": "AACX", "P2": "Y"})
    assert list(table.index) == ["P1", "P2"]
    assert table.shape == (2, 21)
    assert table.loc["P1", ["A", "C", "Y"]].tolist() == [0.5, 0.25, 0]
    assert table.loc["P1", "log_length"] == pytest.approx(np.log(4))


def test_biophysics_by_hand():
    row = biophysical_features({"P": "I" * 40 + "R" * 40}).loc["P"]
    assert len(row) == 38
    assert (row["hydropathy_max"], row["hydropathy_min"]) == pytest.approx((4.5, -4.5))
    assert (row["charge_max"], row["charge_min"]) == pytest.approx((1, 0))
    assert (row["disorder_max"], row["disorder_min"]) == pytest.approx((0.18, -0.486))
    assert row["entropy_min"] == pytest.approx(0, abs=1e-9)
    # windows of 15 hold more than 3 R from 4 residues before the first R on
    assert row["positive_share"] == pytest.approx(44 / 80)
    # k I and 19 - k R have the mean 4.5 (2k - 19) / 19, above 1.6 from k = 13 on
    assert row["hydrophobic_share"] == pytest.approx(37 / 80)


def test_termini_are_the_first_and_last_50():
    row = biophysical_features({"P": "A" * 50 + "C" * 30 + "D" * 50}, termini=True).loc["P"]
    assert len(row) == 78
    assert (row["start_A"], row["start_C"], row["end_D"], row["end_C"]) == (1, 0, 1, 0)


def test_a_protein_shorter_than_every_window_has_numbers():
    table = biophysical_features({"P": "M", "Q": "X"}, termini=True)
    assert np.isfinite(table.to_numpy()).all()
    assert table.loc["Q", list(STANDARD)].sum() == 0


def test_proteins_do_not_touch_each_other():
    together = biophysical_features({"P": "IIIKKKDE", "Q": "MW" * 200}, termini=True)
    np.testing.assert_array_equal(together.loc[["P"]], biophysical_features({"P": "IIIKKKDE"}, termini=True))


def test_pair_features_by_hand_and_without_order():
    a, b = np.array([[1.0, -2.0]]), np.array([[3.0, 4.0]])
    assert pair_features(a, b).tolist() == [[4, 2, 2, 6, 3, -8]]
    np.testing.assert_array_equal(pair_features(a, b), pair_features(b, a))


def test_degree_counts_positive_training_partners_only():
    train = _pairs(("A", "B", 1), ("A", "C", 1), ("B", "C", 0), ("D", "C", 0))
    test = _pairs(("A", "A", 1), ("A", "B", 1), ("B", "D", 0), ("D", "new", 0))
    result = degree_baseline(train, test, test)
    assert result.probabilities == pytest.approx([1 - 1 / 9, 1 - 1 / 6, 1 - 1 / 2, 0])


def test_constant_and_hubs_by_hand():
    train = _pairs(*[("H", f"P{i}", 1) for i in range(12)], ("P0", "P1", 0), ("P2", "P3", 0))
    test = _pairs(("H", "H", 1), ("H", "new", 0), ("P0", "P1", 0))
    assert constant_baseline(train, test, test).probabilities.tolist() == pytest.approx([12 / 14] * 3)
    assert hub_baseline(train, test, test).probabilities.tolist() == [1, 0.5, 0]


def test_the_interolog_finds_the_relatives_of_a_training_pair():
    rng = np.random.default_rng(0)
    sequences = {name: "".join(rng.choice(list(STANDARD), 150)) for name in ("A", "B", "C", "D", "new")}
    sequences |= {"a": sequences["A"][:120] + sequences["D"][:30], "b": sequences["B"]}
    train = _pairs(("A", "B", 1), ("C", "D", 1), ("A", "C", 0))
    test = _pairs(("a", "b", 1), ("b", "a", 1), ("A", "B", 1), ("a", "C", 0), ("new", "B", 0), ("C", "b", 0))
    found = interolog_baseline(sequences, train, test, test).probabilities
    assert found[0] == found[1] > 0.75
    assert found[2:].tolist() == [1, 0, 0, 0]


def test_every_baseline_but_degree_finds_the_signal(toy):
    sequences, splits = toy
    rng = np.random.default_rng(1)
    # 150 wide, so reduced by PCA; every column carries the share of K and noise
    pooled = {name: text.count("K") / 120 + 0.02 * rng.normal(size=150) for name, text in sequences.items()}
    seen = []
    results = run_baselines(sequences, *splits, pooled=pooled, progress=seen.append)
    assert seen == [result.name for result in results]
    assert len(set(seen)) == 15
    for result in results:
        assert result.probabilities.shape == result.validation_probabilities.shape == (300,)
        assert ((result.probabilities >= 0) & (result.probabilities <= 1)).all()
    scores = {r.name: roc_auc_score(splits[2].labels, r.probabilities) for r in results}
    blind = ("constant", "degree in training", "hubs in training", "interolog")  # no protein was seen or is alike
    assert [scores.pop(name) for name in blind] == [0.5] * 4
    for name in [name for name in scores if "random" in name or "permuted" in name]:
        assert 0.35 < scores.pop(name) < 0.65
    assert all(score > 0.75 for score in scores.values()), scores


def test_order_within_a_pair_never_matters_and_a_seed_repeats(toy):
    sequences, (train, validation, test) = toy
    turned = make_pairs(test.b, test.a, test.labels)
    for one, two in zip(
        run_baselines(sequences, train, validation, test),
        run_baselines(sequences, train, validation, turned),
        strict=True,
    ):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-6)


def test_test_labels_and_test_proteins_never_reach_the_models(toy):
    sequences, (train, _, test) = toy
    other = {
        name: sequence if name in set(train.a) | set(train.b) else "W" * 60 for name, sequence in sequences.items()
    }
    flipped = make_pairs(test.a, test.b, 1 - test.labels)
    first = run_baselines(sequences, train, train, test)
    second = run_baselines(other, train, train, flipped)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_allclose(one.validation_probabilities, two.validation_probabilities, atol=1e-6)


def test_bad_input_is_named(toy):
    sequences, (train, validation, test) = toy
    with pytest.raises(InputError, match="sequences lack 1 proteins of the pairs, such as P99"):
        run_baselines(sequences, train, validation, _pairs(("P99", "P1", 1)))
    with pytest.raises(InputError, match="pooled embeddings lack"):
        run_baselines(sequences, train, validation, test, pooled={"P1": np.ones(3)})
    with pytest.raises(InputError, match=r"train\.labels hold"):
        run_baselines(sequences, _pairs(("P1", "P2", 1)), validation, test)
    with pytest.raises(InputError, match="'P1' is empty"):
        composition_features({"P1": ""})
    with pytest.raises(InputError, match="same"):
        pair_features(np.ones((2, 3)), np.ones((1, 3)))
