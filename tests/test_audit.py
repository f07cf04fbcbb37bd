"""The audit: every planted fault is found and said, and nothing is said of a sound split."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_sequence
from test_homology import mutate

from ppi_lib.audit import audit, highest_identities, join_pairs, seen_classes
from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs, Proteins
from ppi_lib.verdicts import judge_shortcut


def make_pairs(*rows) -> Pairs:
    a, b, labels = zip(*rows, strict=True)
    return Pairs(a=np.array(a, object), b=np.array(b, object), labels=np.array(labels, np.float32), notes=())


def ring(letter: str, count: int = 30) -> Pairs:
    """Each protein stands in two positive and two negative pairs."""
    ids = [f"{letter}{i}" for i in range(count)]
    rows = [(one, ids[(i + step) % count], float(step == 1)) for i, one in enumerate(ids) for step in (1, 2)]
    return make_pairs(*rows)


@pytest.fixture(scope="module")
def proteins():
    ids = [f"{letter}{i}" for letter in "TVE" for i in range(30)]
    return Proteins(sequences={one: random_sequence(150, i) for i, one in enumerate(ids)}, notes=())


@pytest.fixture
def splits():
    return {"train": ring("T"), "validation": ring("V"), "test": ring("E")}


def with_rows(pairs: Pairs, *rows) -> Pairs:
    extra = make_pairs(*rows)
    return Pairs(**{n: np.append(getattr(pairs, n), getattr(extra, n)) for n in ("a", "b", "labels")}, notes=())


def levels(found, subject):
    return {one.level for one in found.findings if one.subject == subject}


def verdict(found, subject):
    return next(one.verdict for one in found.findings if one.subject == subject)


def test_a_sound_split_is_fine_throughout(splits, proteins):
    found = audit(**splits, proteins=proteins)
    assert {one.level for one in found.findings} == {"fine"}
    assert len(found.format().splitlines()) == len(found.findings)
    assert found.tables["classes"].query("split == 'test'")["pairs"].tolist() == [0, 0, 60]
    assert found.tables["without_biology"]["auroc"].tolist()[:4] == [0.5] * 4


def test_a_pair_copied_in_the_other_order_is_found(splits, proteins):
    copied = with_rows(splits["test"], ("T1", "T0", 1.0))
    found = audit(**{**splits, "test": copied}, proteins=proteins, sample=0)
    assert levels(found, "pairs") == {"fault"}
    assert verdict(found, "pairs").startswith("1 pairs stand in two splits")
    assert found.tables["shared_pairs"][["protein_a", "protein_b", "splits"]].values.tolist() == [
        ["T0", "T1", "train, test"]
    ]
    assert levels(found, "labels") == {"fine"}
    assert verdict(found, "proteins").startswith("2 of 32 test proteins were seen before: of the test pairs, 1 have")


def test_a_conflicting_label_is_found_within_a_split_and_across(splits, proteins):
    across = audit(**{**splits, "test": with_rows(splits["test"], ("T1", "T0", 0.0))}, proteins=proteins, sample=0)
    within = audit(**{**splits, "test": with_rows(splits["test"], ("E1", "E0", 0.0))}, proteins=proteins, sample=0)
    for found, pair in ((across, "T0 and T1"), (within, "E0 and E1")):
        assert levels(found, "labels") == {"fault"}
        assert pair in verdict(found, "labels")
    assert levels(within, "pairs") == {"caution"}


def test_a_protein_under_two_ids_is_found(splits, proteins):
    double = Proteins(sequences={**proteins.sequences, "E0": proteins.sequences["T5"]}, notes=())
    found = audit(**splits, proteins=double, sample=0)
    assert levels(found, "duplicates") == {"fault"}
    assert "T5, E0" in verdict(found, "duplicates")
    inside = Proteins(sequences={**proteins.sequences, "E0": proteins.sequences["E9"]}, notes=())
    assert levels(audit(**splits, proteins=inside, sample=0), "duplicates") == {"caution"}


def test_a_near_neighbour_across_splits_is_found_and_its_pairs_counted(splits, proteins):
    near = mutate(proteins.sequences["T5"], 0.1, 0)
    found = audit(**splits, proteins=Proteins(sequences={**proteins.sequences, "E0": near}, notes=()))
    assert levels(found, "homology") == {"caution"}
    assert "touches 4 of 60 test pairs" in verdict(found, "homology")
    assert found.tables["neighbours"][["query", "target", "split"]].values.tolist() == [["E0", "T5", "test"]]
    assert found.tables["neighbours"]["identity"][0] == pytest.approx(0.9, abs=0.01)


def test_a_sample_is_said(splits, proteins):
    found = audit(**splits, proteins=proteins, sample=10, seed=3)
    assert "a sample of 10 of the 30 test proteins, seed 3" in verdict(found, "homology")


def test_a_sample_says_what_it_knows_of(splits, proteins):
    """All test proteins have a relative in training: a sample of them says so of the pairs that it covers."""
    near = {f"E{i}": mutate(proteins.sequences[f"T{i}"], 0.1, i) for i in range(30)}
    related = Proteins(sequences=proteins.sequences | near, notes=())
    before = join_pairs(splits["train"], splits["validation"])
    for sample in (30, 15):
        found = audit(**splits, proteins=related, sample=sample)
        identities = highest_identities(found, before)
        assert {one for one in identities if one.startswith("E")} == set(
            found.tables["searched"].query("split == 'test'").protein
        )
        assert min(identities.values()) > 0.8
        assert f"{sample} of {sample} test proteins not seen before" in verdict(found, "homology")
        assert f"test pairs with one of the {sample}:" in verdict(found, "homology")
    assert levels(found, "homology") == {"fault"}


def test_too_few_pairs_and_a_score_turned_round_are_said():
    row = {"score": "length", "auroc": 0.8, "low": 0.45, "high": 0.98}
    assert judge_shortcut(row)[1:] == (
        "caution",
        "Length alone: AUROC 0.800 [0.450, 0.980] on test; too few pairs to tell it from guessing.",
    )
    turned = judge_shortcut({"score": "length", "auroc": 0.2, "low": 0.15, "high": 0.25})
    assert turned.level == "fault"
    assert "turned round, 0.800" in turned.verdict
    assert judge_shortcut({"score": "length", "auroc": 0.51, "low": 0.49, "high": 0.53}).level == "fine"


def test_positives_from_hubs_alone_are_found(splits, proteins):
    rows = [(f"E{hub}", f"E{i}", 1.0) for hub in (0, 1) for i in range(2, 17)]
    rows += [(f"E{i}", f"E{i + 1}", 0.0) for i in range(2, 28)]
    found = audit(**{**splits, "test": make_pairs(*rows)}, proteins=proteins, sample=0)
    assert levels(found, "degree") == {"fault"}
    degree = found.tables["degree"].set_index("split").loc["test"]
    assert (degree["hub_share_1"], degree["hub_share_0"]) == (1, 0)


def test_hubs_of_training_that_tell_the_test_labels_are_found(splits, proteins):
    train = make_pairs(*[("T0", f"T{i}", 1.0) for i in range(1, 25)], *[(f"T{i}", f"T{i + 1}", 0.0) for i in range(25)])
    test = make_pairs(*[("T0", f"E{i}", 1.0) for i in range(15)], *[("T26", f"E{i}", 0.0) for i in range(15)])
    found = audit(train, splits["validation"], test, proteins, sample=0)
    table = found.tables["without_biology"].set_index("score")
    assert table.loc["positive training partners", "auroc"] == 1
    assert table.loc["hubs of training", "auroc"] == 1
    assert "fault" in levels(found, "without biology")


def test_classes_by_hand(splits):
    pairs = make_pairs(("T0", "T9", 1), ("T0", "E1", 0), ("E1", "T0", 0), ("E1", "E2", 1), ("E3", "E3", 1))
    assert seen_classes(splits["train"], pairs).tolist() == ["C1", "C2", "C2", "C3", "C3"]


def test_what_was_not_asked_is_not_called_fine(splits, proteins):
    found = audit(splits["train"], splits["validation"], splits["train"], proteins)
    assert levels(found, "homology") == {"caution"}
    assert verdict(found, "homology") == "Not searched, as every test protein was seen before."


def test_relatives_are_counted_among_the_proteins_not_seen_before(splits, proteins):
    """All unseen test proteins have a relative, but most test pairs are of two seen ones."""
    near = {f"E{i}": mutate(proteins.sequences[f"T{i}"], 0.1, i) for i in range(2)}
    seen = splits["train"].take(np.arange(50))
    test = join_pairs(seen, make_pairs(("E0", "T9", 1.0), ("E1", "E0", 0.0)))
    found = audit(splits["train"], splits["validation"], test, Proteins(sequences=proteins.sequences | near, notes=()))
    assert levels(found, "homology") == {"fault"}
    assert verdict(found, "homology").startswith("2 of 2 test proteins not seen before have a near neighbour that was")
    assert "touches 2 of 2 test pairs with one of the 2:" in verdict(found, "homology")


def test_validation_that_leans_on_train_is_said(splits, proteins):
    near = {f"V{i}": mutate(proteins.sequences[f"T{i}"], 0.1, i) for i in range(30)}
    found = audit(**splits, proteins=Proteins(sequences=proteins.sequences | near, notes=()))
    assert verdict(found, "homology of validation").startswith("30 of 30 validation proteins not seen before have")
    assert levels(found, "homology of validation") == {"caution"}
    assert levels(found, "homology") == {"fine"}
    shared = audit(**{**splits, "validation": with_rows(splits["validation"], ("T0", "V1", 1.0))}, proteins=proteins)
    assert verdict(shared, "validation").startswith("1 of 31 validation proteins stand in train")


def test_a_protein_with_itself_tells_the_label_where_no_negative_is(splits, proteins):
    test = with_rows(splits["test"], *((f"E{i}", f"E{i}", 1.0) for i in range(30)))
    found = audit(**{**splits, "test": test}, proteins=proteins, sample=0)
    table = found.tables["without_biology"].set_index("score")
    assert table.loc["being of a protein with itself", "auroc"] == pytest.approx(0.75)  # half of the positives
    assert any("with itself alone: AUROC 0.750" in one.verdict and one.level == "fault" for one in found.findings)


def test_bad_input_is_named(splits, proteins):
    with pytest.raises(InputError, match="test pairs have 1 id without a sequence"):
        audit(**{**splits, "test": with_rows(splits["test"], ("NOPE", "E1", 1.0))}, proteins=proteins)
    strings = replace(splits["test"], labels=splits["test"].labels.astype(int).astype(str))
    with pytest.raises(InputError, match="test labels are of type <U"):
        audit(**{**splits, "test": strings}, proteins=proteins)
    with pytest.raises(InputError, match="all labelled 1"):
        audit(**{**splits, "test": make_pairs(("E1", "E2", 1.0))}, proteins=proteins)
