"""Embeddings that others made: every layout, the offset rule, and what is refused."""

import os
import pickle

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from ppi_lib.errors import InputError
from ppi_lib.import_embeddings import import_embeddings, import_pairs
from ppi_lib.proteins import Proteins, read_pair_splits, read_pairs
from tests.conftest import random_sequence

LENGTHS = {"P1": 1, "P2": 33, "Q9": 70, "R4": 64}
PROTEINS = Proteins(sequences={name: random_sequence(n, n) for name, n in LENGTHS.items()}, notes=())
RESIDUES = {name: np.random.default_rng(n).normal(size=(n, 6)).astype(np.float32) for name, n in LENGTHS.items()}
SUFFIXES = ("h5", "npz", "safetensors", "pkl")


def write(path, arrays) -> str:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        save_file({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, path)
    else:
        path.write_bytes(pickle.dumps(arrays))
    return path


def load(path, out, proteins=PROTEINS, **options):
    return import_embeddings(path, proteins, out, trust_pickle=True, progress=False, **options)


def check(store, residues=RESIDUES):
    assert store.ids == list(PROTEINS.sequences)
    for name, rows in residues.items():
        means = np.stack([rows[start : start + 32].mean(axis=0) for start in range(0, len(rows), 32)])
        assert np.allclose(store[name], means, atol=2e-3)
        assert store.length(name) == len(rows)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_mean_of_each_patch(tmp_path, suffix):
    store = load(write(tmp_path / f"e.{suffix}", {**RESIDUES, "more": RESIDUES["P1"]}), tmp_path / "s", name="prot_t5")
    check(store)
    assert (store.info.embedder, store.info.version, store.info.width) == ("prot_t5", "imported", 6)


def test_a_store_of_other_numbers_is_not_taken_for_the_file(tmp_path):
    path = write(tmp_path / "e.h5", RESIDUES)
    load(path, tmp_path / "s")
    check(load(path, tmp_path / "s"))
    with pytest.raises(InputError, match=r"P1 has other embeddings there than in .*delete that one"):
        load(write(tmp_path / "f.h5", {name: rows + 1 for name, rows in RESIDUES.items()}), tmp_path / "s")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_two_rows_more_than_residues_are_a_start_and_an_end(tmp_path, suffix):
    ends = {name: np.concatenate([rows[:1] + 99, rows, rows[:1] - 99]) for name, rows in RESIDUES.items()}
    check(load(write(tmp_path / f"e.{suffix}", ends), tmp_path / "s"))


def test_the_layouts_of_uniprot_bio_embeddings_and_dscript(tmp_path):
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["sp|P1|NAME_HUMAN"] = RESIDUES["P1"].astype(np.float16)
        file["0"] = RESIDUES["P2"]
        file["0"].attrs["original_id"] = "P2 a description"
        file.create_dataset("Q9", data=RESIDUES["Q9"][None], compression="lzf")
        file["R4"] = RESIDUES["R4"].astype(np.float64)
    check(load(tmp_path / "e.h5", tmp_path / "s"))


def test_bfloat16_and_torch_tensors_are_read(tmp_path):
    save_file({n: torch.from_numpy(r).bfloat16() for n, r in RESIDUES.items()}, tmp_path / "e.safetensors")
    rough = {n: torch.from_numpy(r).bfloat16().float().numpy() for n, r in RESIDUES.items()}
    check(load(tmp_path / "e.safetensors", tmp_path / "s"), rough)
    (tmp_path / "e.pkl").write_bytes(pickle.dumps({n: torch.from_numpy(r) for n, r in RESIDUES.items()}))
    check(load(tmp_path / "e.pkl", tmp_path / "t"))


def test_a_long_protein_is_cut_at_the_last_position(tmp_path):
    rows = np.random.default_rng(0).normal(size=(1600, 2)).astype(np.float32)
    proteins = Proteins(sequences={"A": random_sequence(1600)}, notes=())
    store = load(write(tmp_path / "e.npz", {"A": rows}), tmp_path / "s", proteins)
    assert store.length("A") == 1502
    assert np.allclose(store["A"][-1], rows[1472:1502].mean(axis=0), atol=2e-3)


def test_an_import_adds_what_is_missing(tmp_path):
    path = write(tmp_path / "e.h5", RESIDUES)
    load(path, tmp_path / "s", PROTEINS.take(["P1", "P2"]))
    check(load(path, tmp_path / "s"))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was_run",)


def test_a_pickle_is_opened_only_for_who_trusts_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.pkl").write_bytes(pickle.dumps(Evil()))
    for act in (
        lambda: import_embeddings("e.pkl", PROTEINS, "s"),
        lambda: import_pairs("e.pkl", "pairs.tsv"),
    ):
        with pytest.raises(InputError, match=r"a pickle can run any code.*--trust-pickle"):
            act()
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("suffix", ["h5", "npz", "safetensors"])
def test_the_other_formats_run_nothing(tmp_path, suffix):
    path = tmp_path / f"e.{suffix}"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match=r"e\.\w+: damaged or cut off"):
        load(path, tmp_path / "s")
    assert not (tmp_path / "was_run").exists()


def test_an_npz_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "e.npz", **{**RESIDUES, "P1": np.array([[Evil()] * 6], dtype=object)})
    with pytest.raises(InputError, match=r"damaged or cut off .*allow_pickle"):
        load(tmp_path / "e.npz", tmp_path / "s")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [69, 71, 73])
def test_another_length_names_the_protein_both_lengths_and_the_rule(tmp_path, suffix, rows):
    wrong = {**RESIDUES, "Q9": np.zeros((rows, 6), dtype=np.float32)}
    with pytest.raises(
        InputError, match=rf"Q9 has {rows} rows and its sequence 70 residues; .* a row per residue, or two"
    ):
        load(write(tmp_path / f"e.{suffix}", wrong), tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_width_names_the_protein_and_both(tmp_path, suffix):
    with pytest.raises(InputError, match="Q9 is 5 wide, those before it 6"):
        load(write(tmp_path / f"e.{suffix}", {**RESIDUES, "Q9": np.zeros((70, 5), np.float32)}), tmp_path / "s")


def test_another_width_than_the_stores_is_refused(tmp_path):
    load(write(tmp_path / "e.h5", {"P1": np.zeros((1, 5))}), tmp_path / "s", PROTEINS.take(["P1"]))
    with pytest.raises(InputError, match=r"holds a store of imported .*width 5.*asked to write imported .*width 6"):
        load(write(tmp_path / "f.h5", RESIDUES), tmp_path / "s")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_names_protein_and_residue(tmp_path, value):
    wrong = RESIDUES["Q9"].copy()
    wrong[41, 2] = value
    with pytest.raises(InputError, match="Q9 has NaN or infinite values, first at residue 42"):
        load(write(tmp_path / "e.h5", {**RESIDUES, "Q9": wrong}), tmp_path / "s")


def test_missing_proteins_are_counted_and_the_first_five_named(tmp_path):
    more = Proteins(sequences={**PROTEINS.sequences, **{f"X{i}": "MKV" for i in range(7)}}, notes=())
    with pytest.raises(InputError, match=r"7 of 11 proteins are not in it, the first X0, X1, X2, X3, X4; it holds 4"):
        load(write(tmp_path / "e.h5", RESIDUES), tmp_path / "s", more)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = write(tmp_path / f"e.{suffix}", RESIDUES)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"e\.\w+: (damaged or cut off|not a pickle)"):
        load(path, tmp_path / "s")


def test_one_vector_per_protein_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"P1 is of shape \(6,\); .*residue embeddings"):
        load(write(tmp_path / "e.h5", {n: r.mean(axis=0) for n, r in RESIDUES.items()}), tmp_path / "s")


def test_an_id_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="'P1' stands twice"):
        load(write(tmp_path / "e.h5", {**RESIDUES, "sp|P1|NAME": RESIDUES["P1"]}), tmp_path / "s")


def test_unknown_and_missing_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"ends with '\.csv'; expected \.h5"):
        load(tmp_path / "e.csv", tmp_path / "s")
    with pytest.raises(InputError, match="there is no such file"):
        load(tmp_path / "e.h5", tmp_path / "s")
    (tmp_path / "e.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="holds a list; expected a dictionary"):
        load(tmp_path / "e.pkl", tmp_path / "s")


def test_pickled_pairs_become_a_table_that_is_read(tmp_path):
    table = pd.DataFrame({"uniprotID_A": ["P1", "P2"], "uniprotID_B": ["Q9", "R4"], "isInteraction": [1, 0]})
    table.assign(other=[[1], [2]]).to_pickle(tmp_path / "p.pkl")
    assert import_pairs(tmp_path / "p.pkl", tmp_path / "p.tsv", trust_pickle=True) == 2
    pairs = read_pairs(tmp_path / "p.tsv", labels="required")
    assert (list(pairs.a), list(pairs.b), list(pairs.labels)) == (["P1", "P2"], ["Q9", "R4"], [1, 0])
    table.assign(trainTest=["train", "test"]).to_pickle(tmp_path / "q.pkl")
    import_pairs(tmp_path / "q.pkl", tmp_path / "q.tsv", trust_pickle=True)
    assert sorted(read_pair_splits(tmp_path / "q.tsv")) == ["test", "train"]


def test_a_pickle_of_something_else_is_no_table_of_pairs(tmp_path):
    write(tmp_path / "p.pkl", RESIDUES)
    with pytest.raises(InputError, match="expected a table with uniprotID_A"):
        import_pairs(tmp_path / "p.pkl", tmp_path / "p.tsv", trust_pickle=True)
