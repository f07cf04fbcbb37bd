"""One table of the model and its baselines, and the spread over seeds."""

import numpy as np
import pytest
from test_proteins import make_pairs

from ppi_lib.errors import InputError
from ppi_lib.evaluate import bootstrap_intervals
from ppi_lib.report import INTERVALS, Scored, across_seeds, comparison, evaluate_scored


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return make_pairs(*((f"P{a}", f"P{b}", int(rng.random() < 0.5)) for a, b in rng.integers(0, 30, (200, 2))))


def scored(pairs, name, seed, strength=0.4):
    noise = np.random.default_rng(seed).random(len(pairs))
    p = strength * pairs.labels + (1 - strength) * noise
    return Scored(name, "ours", p, p)


def test_a_row_is_what_evaluation_gives_whatever_stands_beside_it(pairs):
    one, two = scored(pairs, "one", 0), scored(pairs, "two", 1)
    table = evaluate_scored([one, two], pairs, pairs, draws=20).set_index("name")
    assert table.index.tolist() == ["one", "two"]
    row = table.loc["two"]
    alone = bootstrap_intervals(pairs.labels, two.probabilities, pairs.a, pairs.b, row["threshold"], draws=20)
    for name in INTERVALS:
        values = (row[name], row[f"{name}_low"], row[f"{name}_high"])
        assert values == pytest.approx(alone[name][:3], nan_ok=True), name


def test_published_results_stand_beside_ours_without_intervals(pairs):
    table = evaluate_scored([scored(pairs, "one", 0)], pairs, pairs, draws=5)
    assert comparison(table, "bernett")["name"].tolist() == ["one"]  # of another number of pairs, so another test
    rows = comparison(table.assign(pairs=52_048), "bernett").set_index("name")
    assert rows.loc["TUnA (language model)", "value"] == 0.703
    assert np.isnan(rows.loc["RAPPPID", "low"])
    assert comparison(table.assign(pairs=52_048), "own data")["name"].tolist() == ["one"]


def test_seeds_are_summed_up_by_hand(pairs):
    tables = [evaluate_scored([scored(pairs, "one", seed)], pairs, pairs, draws=5) for seed in (0, 1)]
    result = across_seeds(tables)
    values = [table["auroc"][0] for table in tables]
    assert result["auroc"][0] == pytest.approx(np.mean(values))
    assert result["auroc_sd"][0] == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2))
    assert result["seeds"].tolist() == [2]
    with pytest.raises(InputError, match=r"tables are 1, .*expected at least two"):
        across_seeds(tables[:1])
    with pytest.raises(InputError, match="with 2 sets of names"):
        across_seeds([tables[0], tables[1].assign(name="other")])
