"""Strata: assigned by hand, evaluated as the parts alone would be, and never with a number where there is none."""

import numpy as np
import pytest
from test_proteins import make_pairs

from ppi_lib.errors import InputError
from ppi_lib.evaluate import bootstrap_intervals
from ppi_lib.strata import assign_strata, evaluate_strata


def test_strata_by_hand():
    pairs = make_pairs(*(("H", f"P{i}", i % 2) for i in range(12)), ("Q0", "Q1", 1))
    sequences = {"H": "M" * 10, **{f"P{i}": "M" * (10 * (i + 1)) for i in range(12)}}
    sequences |= {"Q0": "M", "Q1": "M" * 20}
    classes = np.array(["C3"] * 12 + ["C1"], dtype=object)
    nearest = dict.fromkeys(sequences, 0.0) | {"P3": 0.8, "P4": 0.4, "H": 0.69, "Q1": 0.39}
    table = assign_strata(pairs, sequences, classes, nearest)
    assert table["class"].tolist() == classes.tolist()
    assert table["hubs"].tolist() == ["one hub"] * 12 + ["no hub"]
    assert table["length"][0] == table["length"][12] == "short (up to 40)"
    assert table["length"][11] == "long (above 80)"
    assert table["identity"].tolist() == ["40% to 70%"] * 3 + ["from 70% on"] + ["40% to 70%"] * 8 + ["below 40%"]
    assert "identity" not in assign_strata(pairs, sequences, classes)
    del nearest["Q0"]
    table = assign_strata(pairs, sequences, classes, nearest)
    assert table["identity"].isna().tolist() == [False] * 12 + [True]


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300).astype(float)
    ids = rng.integers(0, 40, (2, 300)).astype(str)
    return labels, np.clip(0.3 * labels + 0.7 * rng.random(300), 0, 1), *ids


def test_a_stratum_is_evaluated_as_if_it_were_alone(scored):
    strata = assign_strata(
        make_pairs(*zip(scored[2], scored[3], scored[0], strict=True)),
        {str(i): "M" * (i + 1) for i in range(40)},
        np.repeat(["C1", "C3"], [100, 200]),
    )
    result = evaluate_strata(strata, *scored, 0.5, draws=50)
    row = result.table.set_index(["by", "stratum"]).loc[("class", "C1")]
    alone = bootstrap_intervals(*(column[:100] for column in scored), 0.5, draws=50)
    assert (row["auroc"], row["auroc_low"], row["auroc_high"]) == pytest.approx(alone["auroc"][:3])
    assert row["pp_mcc"] == pytest.approx(alone["pp_mcc"].value)
    assert result.table.groupby("by")["pairs"].sum().tolist() == [300, 300, 300]


def test_a_stratum_of_one_class_is_said_and_left_out_and_a_small_one_is_said(scored):
    labels = scored[0].copy()
    labels[:50] = 1
    labels[50:100] = [1] * 4 + [0] * 46
    strata = assign_strata(
        make_pairs(*zip(scored[2], scored[3], labels, strict=True)),
        dict.fromkeys(map(str, range(40)), "MK"),
        np.repeat(["C1", "C2", "C3"], [50, 50, 200]),
    )[["class"]]
    result = evaluate_strata(strata, labels, *scored[1:], 0.5, draws=50)
    assert result.table["stratum"].tolist() == ["C2", "C3"]
    assert result.notes == (
        "class, C1: left out, as it has one class (50 positives of 50 pairs).",
        "class, C2: its interval is a guess, 4 of one class (4 positives of 50 pairs).",
    )


def test_strata_of_other_pairs_are_refused(scored):
    strata = assign_strata(make_pairs(("a", "b", 1)), {"a": "M", "b": "M"}, np.array(["C1"], dtype=object))
    with pytest.raises(InputError, match="strata have 1 rows, labels 300"):
        evaluate_strata(strata, *scored, 0.5)
