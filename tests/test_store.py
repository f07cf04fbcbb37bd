import json
import resource
import shutil

import numpy as np
import pytest

from ppi_lib.errors import InputError
from ppi_lib.shards import SHARD_PATCHES
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
    with pytest.raises(InputError, match=r"shard-00000\.npy: 278 bytes; its index says 288"):
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


def test_a_store_of_an_older_format_is_refused(tmp_path):
    write(tmp_path, A=np.ones((1, 4)))
    meta = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps({**meta, "format": 1}))
    with pytest.raises(InputError, match=r"another format than 2.*embed the proteins again"):
        PatchStore(tmp_path)


def test_a_protein_that_stands_in_two_shards_is_refused(tmp_path):
    write(tmp_path, A=np.ones((1, 4)))
    for kind in ("npy", "json"):
        shutil.copy(tmp_path / f"shard-00000.{kind}", tmp_path / f"shard-00001.{kind}")
    with pytest.raises(InputError, match=r"1 proteins are in it twice, e\.g\. A"):
        PatchStore(tmp_path)


def test_a_second_writer_is_refused_while_the_first_writes_and_a_reader_is_not(tmp_path):
    with StoreWriter(tmp_path, INFO) as writer:
        writer.add("A", np.ones((1, 4)), 32, "")
        with pytest.raises(InputError, match="another process is writing"), StoreWriter(tmp_path, INFO):
            pass
        assert len(PatchStore(tmp_path)) == 0
    assert write(tmp_path, B=np.ones((1, 4))).ids == ["A", "B"]


def test_after_an_error_whole_shards_stay_and_the_rest_is_not_written(tmp_path):
    arrays = {"A": np.ones((SHARD_PATCHES, 4)), "B": np.ones((1, 4)), "C": np.full((1, 4), np.nan)}
    with pytest.raises(InputError, match=r"^C: "):
        write(tmp_path, **arrays)
    store = PatchStore(tmp_path)
    assert store.ids == ["A"]
    assert store["A"].shape == (SHARD_PATCHES, 4)


def test_a_disk_that_takes_no_more_ends_the_writing_and_what_is_whole_stays(tmp_path):
    write(tmp_path, A=np.ones((1, 4)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # bytes of a file
    try:
        with pytest.raises(InputError, match=r"could not be written .*File too large"):
            write(tmp_path, B=np.ones((600, 4)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.glob("shard*")) == ["shard-00000.json", "shard-00000.npy"]
    assert write(tmp_path, B=np.ones((1, 4))).ids == ["A", "B"]


def test_what_a_killed_writer_left_half_done_is_cleared(tmp_path):
    write(tmp_path, A=np.ones((1, 4)))
    (tmp_path / "shard-00001.npy.tmp").write_bytes(b"half a sha")
    write(tmp_path, B=np.ones((1, 4)))
    assert not list(tmp_path.glob("*.tmp"))


def test_a_shard_that_was_deleted_is_filled_again_under_its_number(tmp_path):
    for name in "ABC":
        write(tmp_path, **{name: np.ones((1, 4))})
    for kind in ("npy", "json"):
        (tmp_path / f"shard-00001.{kind}").unlink()
    assert PatchStore(tmp_path).ids == ["A", "C"]
    assert write(tmp_path, B=np.ones((1, 4))).ids == ["A", "B", "C"]


def test_a_folder_that_cannot_be_locked_is_refused(tmp_path):
    (tmp_path / "store.lock").mkdir()
    with pytest.raises(InputError, match="can't be written to"), StoreWriter(tmp_path, INFO):
        pass
