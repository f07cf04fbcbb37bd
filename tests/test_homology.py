"""Near neighbours and clusters: planted relatives of known identity, and nothing else."""

import numpy as np
import pytest
from conftest import random_sequence

from ppi_lib.errors import InputError
from ppi_lib.homology import cluster_proteins, find_neighbours
from ppi_lib.scales import STANDARD


def mutate(sequence: str, share: float, seed: int) -> str:
    """Replace a share of the residues by others."""
    generator = np.random.default_rng(seed)
    letters = np.array(list(sequence))
    for place in generator.choice(len(letters), round(share * len(letters)), replace=False):
        letters[place] = generator.choice([letter for letter in STANDARD if letter != letters[place]])
    return "".join(letters)


@pytest.fixture(scope="module")
def strangers():
    return {f"S{i}": random_sequence(200 + i, 100 + i) for i in range(30)}


def test_a_relative_is_found_with_its_identity(strangers):
    found = find_neighbours({"Q": mutate(strangers["S7"], 0.1, 0)}, strangers)
    assert found[["query", "target"]].values.tolist() == [["Q", "S7"]]
    assert found["identity"][0] == pytest.approx(0.9, abs=0.01)
    assert found["coverage"][0] > 0.95


def test_a_distant_relative_is_found_and_the_threshold_holds(strangers):
    query = {"Q": mutate(strangers["S7"], 0.5, 0)}
    assert find_neighbours(query, strangers)["identity"].tolist() == pytest.approx([0.5], abs=0.05)
    assert find_neighbours(query, strangers, identity=0.6).empty


def test_strangers_are_no_neighbours(strangers):
    assert find_neighbours(strangers, strangers).empty


def test_a_shared_stretch_counts_by_its_part_of_the_shorter_protein(strangers):
    query = {"Q": strangers["S7"][:80] + random_sequence(120, 5)}
    assert find_neighbours(query, strangers).empty
    found = find_neighbours(query, strangers, coverage=0.3)
    assert found["target"].tolist() == ["S7"]
    assert found["coverage"][0] == pytest.approx(0.4, abs=0.05)


def test_a_protein_is_not_its_own_neighbour_but_a_copy_is(strangers):
    found = find_neighbours({"S1": strangers["S1"], "copy": strangers["S1"]}, strangers)
    assert found[["query", "target", "identity"]].values.tolist() == [["copy", "S1", 1.0]]


def test_threads_never_matter(strangers):
    queries = {f"Q{i}": mutate(strangers[f"S{i}"], 0.3, i) for i in range(8)}
    one, two = (find_neighbours(queries, strangers, threads=threads) for threads in (1, 2))
    assert len(one) == 8
    assert one.equals(two)


def test_clusters_join_neighbours_of_neighbours(strangers):
    near = mutate(strangers["S3"], 0.35, 1)
    far = mutate(near, 0.35, 2)
    clusters = cluster_proteins({**strangers, "near": near, "far": far}, identity=0.55)
    assert find_neighbours({"far": far}, {"S3": strangers["S3"]}, identity=0.55).empty
    assert clusters["S3"] == clusters["near"] == clusters["far"]
    assert clusters.nunique() == len(strangers)


def test_short_and_unknown_residues_are_no_error(strangers):
    odd = {"tiny": "MK", "unknown": "X" * 50, "none": strangers["S1"][:3]}
    assert find_neighbours(odd, strangers).empty
    assert find_neighbours({}, strangers).empty
    assert cluster_proteins(odd).nunique() == 3


def test_equal_sequences_are_neighbours_though_no_search_would_find_them(strangers):
    plain = {"Q1": "Q" * 80, "Q2": "Q" * 80, "P1": "MKT", "P2": "MKT"}
    found = find_neighbours(plain, {**strangers, **plain})
    assert {("Q1", "Q2", 1.0, 1.0), ("P2", "P1", 1.0, 1.0)} <= set(found.itertuples(index=False, name=None))
    assert not (found["query"] == found["target"]).any()
    clusters = cluster_proteins({**strangers, **plain})
    assert clusters["Q1"] == clusters["Q2"] != clusters["P1"] == clusters["P2"]


def test_unknown_residues_are_not_the_same():
    shared, unknown = random_sequence(60, 0), "X" * 60
    one, other = (shared + unknown + shared[::-1] + random_sequence(40, seed) for seed in (1, 2))
    known = find_neighbours({"A": one.replace("X", "")}, {"B": other.replace("X", "")}, identity=0.01)
    found = find_neighbours({"A": one}, {"B": other}, identity=0.01)
    assert len(found) == len(known) == 1
    assert found["identity"][0] < known["identity"][0]


def test_bad_input_is_named(strangers):
    with pytest.raises(InputError, match=r"identity is 40\.0; expected a share"):
        find_neighbours(strangers, strangers, identity=40.0)
    with pytest.raises(InputError, match="coverage is 0"):
        find_neighbours(strangers, strangers, coverage=0.0)
