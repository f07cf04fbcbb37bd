"""Datasets: the demo's known truth, the user's files, and the published files in cache and download."""

import hashlib
import os
import socket
import threading
from collections import Counter
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ppi_lib import datasets
from ppi_lib.datasets import load_dataset, load_files, load_saved, make_demo, save_dataset
from ppi_lib.errors import InputError
from ppi_lib.proteins import STANDARD, shared_proteins

HOME = os.environ.get("PPI_DATA_HOME")


def needs(name: str):
    there = bool(HOME) and (Path(HOME) / name).is_dir()
    return pytest.mark.skipif(not there, reason=f"PPI_DATA_HOME names no folder with {name}/")


@pytest.fixture(scope="module")
def demo():
    return make_demo()


def kind_of(demo, protein: str) -> tuple[str, str]:
    return tuple(demo.sites[protein][2].split())


def test_the_demo_has_the_sizes_asked_for_and_disjoint_balanced_splits(demo):
    assert [len(p) for p in (demo.train, demo.validation, demo.test)] == [12_000, 1200, 2400]
    assert len(demo.proteins.sequences) == 2000
    lengths = [len(sequence) for sequence in demo.proteins.sequences.values()]
    assert 180 <= min(lengths) < 250 < np.median(lengths) < 450 < max(lengths) <= 1502
    assert not shared_proteins(demo.train, demo.test)
    assert not shared_proteins(demo.train, demo.validation)
    assert not shared_proteins(demo.validation, demo.test)
    for pairs in (demo.train, demo.validation, demo.test):
        assert pairs.labels.mean() == 0.5
        assert len({frozenset(pair) for pair in zip(pairs.a, pairs.b, strict=True)}) == len(pairs)


def test_the_committed_demo_is_what_the_code_makes_and_small(demo):
    folder = Path(__file__).parent.parent / "data" / "demo"
    committed = load_saved(folder)
    assert dict(committed.proteins.sequences) == dict(demo.proteins.sequences)
    assert committed.sites == demo.sites
    for split in ("train", "validation", "test"):
        for column in ("a", "b", "labels"):
            assert np.array_equal(getattr(getattr(committed, split), column), getattr(getattr(demo, split), column))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1.5e6


def test_a_lock_and_a_key_of_one_family_interact_and_nothing_else(demo):
    for pairs in (demo.train, demo.validation, demo.test):
        for a, b, label in zip(pairs.a, pairs.b, pairs.labels, strict=True):
            (role_a, family_a), (role_b, family_b) = kind_of(demo, a), kind_of(demo, b)
            assert label == (role_a != role_b and family_a == family_b)


def test_most_negatives_are_a_lock_with_a_wrong_key(demo):
    negatives = demo.test.take(np.flatnonzero(demo.test.labels == 0))
    mixed = [kind_of(demo, a)[0] != kind_of(demo, b)[0] for a, b in zip(negatives.a, negatives.b, strict=True)]
    assert 0.85 < np.mean(mixed) < 0.95


def test_a_site_holds_its_familys_signature_and_all_signatures_are_of_one_set_of_residues(demo):
    sites = {}
    for protein, (start, stop, kind) in demo.sites.items():
        sites.setdefault(kind, []).append(list(demo.proteins.sequences[protein][start:stop]))
    assert len(sites) == 8
    for kind, rows in sites.items():
        rows = np.array(rows)
        consensus, background = [], []
        for column in rows.T:
            counts = np.unique(column, return_counts=True)[1]
            (consensus if counts.max() > 0.8 * len(rows) else background).append(counts.max() / len(rows))
        expected = (72, 18) if kind.startswith("lock") else (16, 0)
        assert (len(consensus), len(background)) == expected
        assert np.mean(consensus) == pytest.approx(0.906, abs=0.01)
        assert max(background, default=0) < 0.2


def test_degree_says_nothing_and_composition_little_in_the_demo(demo):
    for pairs in (demo.train, demo.validation, demo.test):
        positive = pairs.labels == 1
        assert Counter([*pairs.a[positive], *pairs.b[positive]]) == Counter([*pairs.a[~positive], *pairs.b[~positive]])
    letters = {
        p: [s.count(x) / len(s) for x in STANDARD] + [np.log(len(s)) / 10] for p, s in demo.proteins.sequences.items()
    }

    def features(pairs):
        a, b = (np.array([letters[p] for p in side]) * 20 for side in (pairs.a, pairs.b))
        return np.hstack([a + b, abs(a - b), a * b])

    for model in (
        LogisticRegression(C=0.1, max_iter=300),
        HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=8),
    ):
        model.fit(features(demo.train), demo.train.labels)
        scores = model.predict_proba(features(demo.test))[:, 1]
        assert 0.35 < roc_auc_score(demo.test.labels, scores) < 0.65


def test_the_seed_decides_the_demo():
    small = partial(make_demo, proteins=160, pairs=(200, 40, 60), shares=(0.6, 0.2, 0.2))
    one, again, other = small(seed=1), small(seed=1), small(seed=2)
    assert dict(one.proteins.sequences) == dict(again.proteins.sequences)
    assert list(one.train.a) == list(again.train.a)
    assert list(one.train.a) != list(other.train.a)
    assert [len(p) for p in (one.train, one.validation, one.test)] == [200, 40, 60]


def test_a_demo_that_cannot_be_made_is_refused():
    with pytest.raises(InputError, match="more proteins"):
        make_demo(proteins=80)
    with pytest.raises(InputError, match="No negatives"):
        make_demo(families=2, proteins=200, pairs=(1000, 20, 20))
    with pytest.raises(InputError, match="motif 3"):
        make_demo(motif=3)


@pytest.mark.parametrize("load", [make_demo, *(partial(load_dataset, name) for name in datasets.NAMES)])
def test_a_negative_seed_is_refused(load):
    with pytest.raises(InputError, match="seed is -3; expected 0 or more"):
        load(seed=-3)


def test_a_run_without_data_says_how_it_comes_there(tmp_path):
    with pytest.raises(InputError, match=r"no data of a run is there. .* write it with save_dataset\(data, '.*data'\)"):
        load_saved(tmp_path / "data")


def test_an_unknown_name_is_refused_with_the_names():
    with pytest.raises(InputError, match=r"'nope'.*demo, bernett, b4ppi_yeast"):
        load_dataset("nope")


@pytest.fixture
def files(tmp_path):
    """Thirty proteins and tables of pairs in which all have both labels."""
    (tmp_path / "p.fasta").write_text("".join(f">P{i}\nMKVLAA\n" for i in range(30)))

    def table(name, ids, header="", ending=lambda i: ""):
        rows = [(a, b) for n, a in enumerate(ids) for b in ids[n:]]
        lines = [f"P{a}\tP{b}\t{i % 2}{ending(i)}\n" for i, (a, b) in enumerate(rows)]
        (tmp_path / name).write_text(header + "".join(lines))
        return tmp_path / name

    return tmp_path / "p.fasta", table


def test_three_tables_are_taken_as_given_and_overlaps_noted(files):
    proteins, table = files
    train, validation, test = table("t", range(10)), table("v", range(10, 15)), table("s", range(8, 14))
    dataset = load_files(proteins, train, validation_path=validation, test_path=test)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [55, 15, 21]
    assert any("2 proteins stand in both train and test" in note for note in dataset.notes)
    assert dataset.sites is None


def test_two_tables_lend_validation_pairs(files):
    proteins, table = files
    dataset = load_files(proteins, table("t", range(15)), test_path=table("s", range(20, 25)), seed=1)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [108, 12, 15]
    assert any("12 training pairs" in note for note in dataset.notes)
    with pytest.raises(InputError, match="validation pairs without test pairs"):
        load_files(proteins, table("t", range(15)), validation_path=table("v", range(20, 25)))


def test_one_table_is_split_by_its_column_or_by_protein(files):
    proteins, table = files
    header = "protein_a\tprotein_b\tlabel\tsplit\n"
    values = ["\ttrain", "\ttrain", "\tval", "\tval", "\tTest", "\tTest"]
    dataset = load_files(proteins, table("t", range(10), header, lambda i: values[i % 6]))
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [19, 18, 18]
    dataset = load_files(proteins, table("u", range(30)))
    assert not shared_proteins(dataset.train, dataset.test)
    assert any("across them dropped" in note for note in dataset.notes)
    with pytest.raises(InputError, match=r"holds fold1.*expected train"):
        load_files(proteins, table("t", range(10), header, lambda i: "\tfold1"))


def test_a_split_column_beside_a_test_file_is_noted_as_unused(files):
    proteins, table = files
    header = "protein_a\tprotein_b\tlabel\tsplit\n"
    train = table("t", range(10), header, lambda i: "\ttest")
    dataset = load_files(proteins, train, test_path=table("s", range(20, 25)))
    assert len(dataset.train) + len(dataset.validation) == 55
    assert "Columns of t that aren't used: split." in dataset.notes
    with pytest.raises(InputError, match="seed is -1"):
        load_files(proteins, train, seed=-1)


def test_a_pair_without_sequence_or_a_split_of_one_class_is_refused(files, tmp_path):
    proteins, table = files
    train, test = table("t", range(10)), table("s", range(28, 33))
    with pytest.raises(InputError, match="test pairs have 3 ids"):
        load_files(proteins, train, test_path=test)
    (tmp_path / "one").write_text("P1\tP2\t1\nP3\tP4\t1\n")
    with pytest.raises(InputError, match=r"test split .*all labelled 1"):
        load_files(proteins, train, test_path=tmp_path / "one")
    with pytest.raises(InputError, match="given pairs have 3 ids"):
        load_files(proteins, test)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A stand-in for b4ppi_yeast with its files in a folder of their own, served on this machine."""
    served = tmp_path / "served"
    served.mkdir()
    ids = [f"P{i}" for i in range(12)]
    rows = [
        f"{a}|{b}|{(i + j) % 2}|{('train', 'test')[i > 8]}\n" for i, a in enumerate(ids) for j, b in enumerate(ids[:i])
    ]
    header = "uniprotID_A|uniprotID_B|isInteraction|trainTest\n"
    (served / "pairs.csv").write_text(header + "".join(rows))
    (served / "proteins.csv").write_text("uniprotID|sequence\n" + "".join(f"{p}|MKV\n" for p in ids))
    hashes = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(served.iterdir())}
    handler = partial(SimpleHTTPRequestHandler, directory=served)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PPI_DATA_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setitem(datasets._FILES, "b4ppi_yeast", (address, hashes))
    yield served, tmp_path / "cache" / "b4ppi_yeast", hashes
    server.shutdown()
    server.server_close()


def test_files_are_downloaded_once_and_then_used_without_a_network(published, monkeypatch):
    _, cache, hashes = published
    dataset = load_dataset("b4ppi_yeast")
    assert sorted(p.name for p in cache.iterdir()) == ["pairs.csv", "proteins.csv"]
    assert len(dataset.train) + len(dataset.validation) == 36
    assert len(dataset.validation) == 4
    assert any("node degree" in note and "9 proteins" in note for note in dataset.notes)
    monkeypatch.setitem(datasets._FILES, "b4ppi_yeast", ("http://127.0.0.1:1/", hashes))
    assert list(load_dataset("b4ppi_yeast").train.a) == list(dataset.train.a)
    assert list(load_dataset("b4ppi_yeast", seed=1).train.a) != list(dataset.train.a)


@pytest.fixture
def human(tmp_path, monkeypatch):
    """A stand-in for the human set of B4PPI in the cache, with its two tests, known by git's blob ids."""
    folder = tmp_path / "b4ppi_human"
    folder.mkdir()
    ids = [f"P{i}" for i in range(16)]
    rows = [(a, b, i, j) for i, a in enumerate(ids) for j, b in enumerate(ids[:i])]
    split = {3: "test1", 4: "test2", 5: "test2", 6: "test2"}
    lines = [
        f"{a}|{b}|{int((i + j) % 4 == 0 or k % 2)}|{split.get(k % 7, 'train')}\n" for k, (a, b, i, j) in enumerate(rows)
    ]
    lines = [line.replace("|1|test2", "|0|test2") if k % 5 else line for k, line in enumerate(lines)]
    contents = {
        "pairs.csv": "uniprotID_A|uniprotID_B|isInteraction|trainTest\n" + "".join(lines),
        "proteins.csv": "uniprotID|sequence\n" + "".join(f"{p}|MKV\n" for p in ids),
    }
    digests = {}
    for name, text in contents.items():
        (folder / name).write_text(text)
        digests[name] = hashlib.sha1(f"blob {len(text)}\0{text}".encode()).hexdigest()
    monkeypatch.setenv("PPI_DATA_HOME", str(tmp_path))
    monkeypatch.setitem(datasets._FILES, "b4ppi_human", ("http://127.0.0.1:1/", digests))
    return lines


def test_the_human_set_has_two_tests_and_says_that_its_labels_follow_degree(human):
    balanced, rare = load_dataset("b4ppi_human"), load_dataset("b4ppi_human_test2")
    for dataset, test in ((balanced, "test1"), (rare, "test2")):
        assert len(dataset.test) == sum(line.endswith(f"|{test}\n") for line in human)
        assert any(f"labels of {dataset.name} follow node degree: " in note for note in dataset.notes)
    assert list(balanced.train.a) == list(rare.train.a)
    assert any("probabilities are too high" in note for note in rare.notes)
    assert not any("probabilities are too high" in note for note in balanced.notes)


def test_a_set_without_its_test_is_refused(human, monkeypatch):
    monkeypatch.setattr(datasets, "read_pair_splits", lambda path: {"train": None, "other": None})
    with pytest.raises(InputError, match="has splits other, train; expected train and test1"):
        load_dataset("b4ppi_human")


def test_a_changed_file_in_the_cache_is_refused(published):
    _, cache, _ = published
    load_dataset("b4ppi_yeast")
    with open(cache / "pairs.csv", "a") as file:
        file.write("P0|P11|1|test\n")
    with pytest.raises(InputError, match=r"pairs\.csv: its SHA-256 .*Delete it"):
        load_dataset("b4ppi_yeast")


def test_a_download_with_another_hash_is_refused_and_not_kept(published):
    served, cache, _ = published
    with open(served / "pairs.csv", "a") as file:
        file.write("P0|P11|1|test\n")
    with pytest.raises(InputError, match="couldn't be downloaded"):
        load_dataset("b4ppi_yeast")
    assert not (cache / "pairs.csv").exists()


def test_no_network_says_where_to_put_which_file(published, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    monkeypatch.setitem(datasets._FILES, "b4ppi_yeast", (address, published[2]))
    with pytest.raises(InputError, match=r"refused\)\. Put .*PPI_DATA_HOME .*b4ppi_yeast/pairs\.csv") as raised:
        load_dataset("b4ppi_yeast")
    assert "Max retries" not in str(raised.value)


@needs("bernett")
def test_bernett_has_the_published_counts():
    dataset = load_dataset("bernett")
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [163_192, 59_260, 52_048]
    assert [len(p.proteins) for p in (dataset.train, dataset.validation, dataset.test)] == [4286, 3711, 3022]
    lengths = [len(sequence) for sequence in dataset.proteins.sequences.values()]
    assert (len(lengths), min(lengths), max(lengths), np.median(lengths)) == (11_019, 51, 34_350, 465)
    assert all(p.labels.mean() == 0.5 for p in (dataset.train, dataset.validation, dataset.test))
    assert not any("stand in both" in note or "dropped" in note for note in dataset.notes)


@needs("b4ppi_yeast")
def test_b4ppi_has_the_published_counts_and_says_what_it_shares():
    dataset = load_dataset("b4ppi_yeast")
    assert len(dataset.train) + len(dataset.validation) == 60_738
    assert (len(dataset.test), len(dataset.proteins.sequences)) == (25_398, 6_721)
    assert any("6,612 have both proteins in train, 17,548 one and 1,238 none" in note for note in dataset.notes)
    assert any("partners alone scores AUROC .772" in note for note in dataset.notes)


@needs("b4ppi_human")
def test_the_human_b4ppi_has_the_published_counts():
    balanced, rare = load_dataset("b4ppi_human"), load_dataset("b4ppi_human_test2")
    assert len(balanced.train) + len(balanced.validation) == 106_662
    assert (len(balanced.test), len(rare.test)) == (24_898, 136_939)
    assert balanced.test.labels.mean() == 0.5
    assert rare.test.labels.mean() == pytest.approx(0.0909, abs=1e-4)


def test_a_saved_dataset_is_loaded_as_it_was(tmp_path):
    made = make_demo(proteins=160, pairs=(200, 60, 80), shares=(0.5, 0.25, 0.25), median_length=80)
    save_dataset(made, tmp_path / "data")
    loaded = load_saved(tmp_path / "data")
    assert loaded.proteins.sequences == made.proteins.sequences
    for split in ("train", "validation", "test"):
        before, after = getattr(made, split), getattr(loaded, split)
        assert list(before.a) == list(after.a)
        assert list(before.b) == list(after.b)
        assert list(before.labels) == list(after.labels)


def test_own_files_are_a_dataset_with_the_sequences_beside_them(tmp_path, demo, monkeypatch):
    save_dataset(demo, tmp_path)
    pairs = tmp_path / "train.tsv"
    assert load_dataset(pairs).name == "train"  # proteins.fasta
    (tmp_path / "proteins.fasta").rename(tmp_path / "train.fa")
    assert len(load_dataset(str(pairs)).proteins.sequences) == 2000
    (tmp_path / "train.fa").rename(tmp_path / "other.txt")
    with pytest.raises(
        InputError, match=r"no sequences beside it; expected one of train\.fasta, train\.fa, .* with fasta"
    ):
        load_dataset(pairs)
    assert len(load_dataset(pairs, fasta=tmp_path / "other.txt").proteins.sequences) == 2000
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"'no\.tsv'; expected one of demo.* a file of pairs.*{tmp_path}"):
        load_dataset("no.tsv")
    with pytest.raises(InputError, match="demo has its own sequences"):
        load_dataset("demo", fasta="other.txt")
