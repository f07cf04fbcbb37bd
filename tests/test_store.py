import json

import numpy as np
import pytest

from ppi_lib.embed import embed_proteins
from ppi_lib.errors import InputError
from ppi_lib.proteins import Proteins
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter

INFO = StoreInfo("toy", "1", 4)


def write(path, **arrays: np.ndarray) -> PatchStore:
    with StoreWriter(path, INFO) as writer:
        for protein, patches in arrays.items():
            writer.add(protein, patches, 32 * len(patches), "")
    return PatchStore(path)


def test_what_is_written_is_read(tmp_path):
    one, two = np.arange(4.0).reshape(1, 4), np.arange(12.0).reshape(3, 4)
    store = write(tmp_path, A=one, B=two)
    assert store.ids == ["A", "B"]
    assert store.info == INFO
    assert (store.length("A"), store.length("B")) == (32, 96)
    assert np.array_equal(store["B"], two)
    values, lengths = store.batch(["B", "A"])
    assert values.shape == (2, 3, 4)
    assert np.array_equal(values[1, 0], one[0])
    assert values[1, 1:].abs().max() == 0
    assert lengths.tolist() == [96, 32]


def test_a_second_run_adds_what_is_missing_and_repeats_nothing(tmp_path):
    first = Proteins(sequences={"A": "ACDEF", "B": "GHIKL" * 20}, notes=())
    both = Proteins(sequences={**first.sequences, "C": "MNPQR"}, notes=())
    embed_proteins(first, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("shard-*")}
    store = embed_proteins(both, tmp_path, progress=False)
    assert store.ids == ["A", "B", "C"]
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


def test_a_changed_sequence_is_not_taken_for_the_old_one(tmp_path):
    embed_proteins(Proteins(sequences={"A": "ACDEF", "B": "GHIKL"}, notes=()), tmp_path, progress=False)
    with pytest.raises(InputError, match=r"1 of the proteins with another sequence, e\.g\. A"):
        embed_proteins(Proteins(sequences={"A": "ACDEG", "B": "GHIKL"}, notes=()), tmp_path, progress=False)


def test_a_shard_without_its_index_was_cut_off_and_does_not_count(tmp_path):
    write(tmp_path, A=np.ones((1, 4)))
    (tmp_path / "shard-00001.npy").write_bytes(b"half a sha")
    assert PatchStore(tmp_path).ids == ["A"]
    assert write(tmp_path, B=np.zeros((2, 4))).ids == ["A", "B"]


def test_the_fingerprint_follows_the_proteins_that_are_asked_for(tmp_path):
    one, two = np.ones((1, 4)), np.zeros((1, 4))
    stores = [write(tmp_path / "x", A=one, B=two), write(tmp_path / "y", B=two, A=one, C=one)]
    assert stores[0].fingerprint(["A", "B"]) == stores[1].fingerprint(["B", "A"])
    assert stores[0].fingerprint(["A"]) != stores[0].fingerprint(["B"])
    swapped = write(tmp_path / "z", A=two, B=one)
    assert swapped.fingerprint(["A", "B"]) != stores[0].fingerprint(["A", "B"])


def test_moments_are_those_of_all_patches(tmp_path):
    patches = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float16)
    store = write(tmp_path, A=patches[:2], B=patches[2:], C=np.full((1, 4), 99.0))
    mean, deviation = store.moments(["A", "B"])
    assert np.allclose(mean, patches.astype(float).mean(axis=0), atol=1e-6)
    assert np.allclose(deviation, patches.astype(float).std(axis=0), atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_values_that_are_no_numbers_are_refused_with_the_protein(tmp_path, bad):
    with pytest.raises(InputError, match=r"^B: .*NaN"):
        write(tmp_path, A=np.ones((1, 4)), B=np.full((1, 4), bad))


@pytest.mark.parametrize("value", [np.nan, 1.5])
def test_a_number_that_was_changed_later_is_found_with_the_protein(tmp_path, value):
    write(tmp_path, A=np.ones((1, 4)), B=np.ones((1, 4)))
    shard = np.load(tmp_path / "shard-00000.npy")
    shard[1, 2] = value
    np.save(tmp_path / "shard-00000.npy", shard)
    store = PatchStore(tmp_path)
    store["A"]
    with pytest.raises(InputError, match="numbers of B were changed"):
        store["B"]


def test_a_truncated_shard_is_refused(tmp_path):
    write(tmp_path, A=np.ones((20, 4)))
    shard = tmp_path / "shard-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"shard-00000\.npy: unreadable"):
        PatchStore(tmp_path)


def test_a_shard_of_other_size_than_its_index_is_refused(tmp_path):
    write(tmp_path, A=np.ones((2, 4)))
    np.save(tmp_path / "shard-00000.npy", np.ones((1, 4), dtype=np.float16))
    with pytest.raises(InputError, match="its index says"):
        PatchStore(tmp_path)


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no patch store.*ppi embed"):
        PatchStore(tmp_path)


def test_a_broken_index_is_refused(tmp_path):
    write(tmp_path, A=np.ones((2, 4)))
    (tmp_path / "store.json").write_text('{"format"')
    with pytest.raises(InputError, match=r"store\.json: not readable"):
        PatchStore(tmp_path)


def test_an_index_with_a_column_missing_is_refused(tmp_path):
    write(tmp_path, A=np.ones((2, 4)))
    (tmp_path / "shard-00000.json").write_text('{"ids": ["A"], "lengths": [64]}')
    with pytest.raises(InputError, match="not the index of a shard"):
        PatchStore(tmp_path)


def test_another_embedder_does_not_write_into_a_store(tmp_path):
    write(tmp_path, A=np.ones((1, 4)))
    with (
        pytest.raises(InputError, match=r"holds a store of .*toy"),
        StoreWriter(tmp_path, INFO._replace(width=8)),
    ):
        pass


def test_missing_proteins_are_counted_and_named(tmp_path):
    store = write(tmp_path, A=np.ones((1, 4)))
    with pytest.raises(InputError, match=r"2 proteins are not in the store, e\.g\. X, Y"):
        store.require(["A", "Y", "X"])


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be made"), StoreWriter(tmp_path / "file" / "store", INFO):
        pass


def test_the_index_on_disk_is_plain_json(tmp_path):
    write(tmp_path, A=np.ones((1, 4)))
    assert json.loads((tmp_path / "shard-00000.json").read_text())["lengths"] == [32]
