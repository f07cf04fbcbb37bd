"""A store described, checked byte for byte, and merged."""

import json

import numpy as np
import pytest

from ppi_lib.errors import InputError
from ppi_lib.inventory import check_store, describe_store, merge_stores
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter

INFO = StoreInfo("toy", "1", 4)


def write(path, info: StoreInfo = INFO, **arrays: np.ndarray) -> PatchStore:
    with StoreWriter(path, info) as writer:
        for protein, patches in arrays.items():
            writer.add(protein, patches, 32 * len(patches), "")
    return PatchStore(path)


@pytest.fixture
def folder(tmp_path):
    """A store of three shards with a protein each."""
    for i, name in enumerate("ABC"):
        write(tmp_path / "s", **{name: np.full((i + 1, 4), i + 0.5)})
    return tmp_path / "s"


def test_a_whole_store_has_no_problems(folder):
    assert check_store(folder) == []


def test_a_description_counts_and_measures(folder):
    found = describe_store(folder)
    assert (found.proteins, found.residues, found.patches, found.shards) == (3, 192, 6, 3)
    assert found.info == INFO
    assert found.residue_bytes == 192 * 4 * 4
    assert found.bytes == sum(path.stat().st_size for path in folder.glob("shard*"))
    values = np.array([0.5, 1.5, 1.5, 2.5, 2.5, 2.5])
    assert found.mean == pytest.approx(values.mean())
    assert found.deviation == pytest.approx(values.std())
    assert found.fingerprint == PatchStore(folder).fingerprint("CAB")


@pytest.mark.parametrize("name", ["shard-00001.npy", "shard-00001.json"])
def test_any_byte_that_was_changed_is_found_with_its_shard(folder, name):
    whole = (folder / name).read_bytes()
    for place in range(len(whole)):
        (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert any("shard-00001" in problem for problem in check_store(folder)), place
    (folder / name).write_bytes(whole)
    assert check_store(folder) == []


def test_a_changed_number_is_found_with_its_protein(folder):
    content = bytearray((folder / "shard-00001.npy").read_bytes())
    content[-1] ^= 1
    (folder / "shard-00001.npy").write_bytes(content)
    assert check_store(folder) == ["shard-00001.npy was changed, in 1 of its proteins, e.g. B"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_deleted_shard_is_named_the_last_too(folder, number):
    (folder / f"shard-{number:05d}.npy").unlink()
    assert any(f"shard-{number:05d}.npy is missing" in problem for problem in check_store(folder))
    (folder / f"shard-{number:05d}.json").unlink()
    assert check_store(folder) == [f"shard-{number:05d} is missing"]


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="no patch store"):
        check_store(tmp_path)


def test_a_broken_description_is_found(folder):
    (folder / "store.json").write_text("{")
    assert "not readable" in check_store(folder)[0]


def test_an_empty_store_is_not_described(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match="an empty store"):
        describe_store(tmp_path)


def test_merged_stores_hold_all_proteins_once(tmp_path):
    one, two = np.full((2, 4), 1.5), np.full((1, 4), -3.0)
    stores = [write(tmp_path / "x", A=one, B=two), write(tmp_path / "y", B=two, C=one)]
    merged = merge_stores(stores, tmp_path / "z")
    assert merged.ids == ["A", "B", "C"]
    assert merged.fingerprint("AB") == stores[0].fingerprint("AB")
    assert merged.fingerprint("BC") == stores[1].fingerprint("BC")
    assert check_store(tmp_path / "z") == []
    assert merge_stores(stores, tmp_path / "x").ids == ["A", "B", "C"]


def test_stores_of_two_embedders_or_with_a_protein_of_two_kinds_are_not_merged(tmp_path):
    store = write(tmp_path / "x", A=np.ones((1, 4)))
    other = write(tmp_path / "y", info=INFO._replace(version="2"), B=np.ones((1, 4)))
    with pytest.raises(InputError, match=r"y: made by toy \(version 2, .*x by toy \(version 1"):
        merge_stores([store, other], tmp_path / "z")
    unlike = write(tmp_path / "w", A=np.zeros((1, 4)), B=np.ones((1, 4)))
    with pytest.raises(InputError, match=r"w: 1 proteins have other embeddings than in .*x, e\.g\. A"):
        merge_stores([store, unlike], tmp_path / "z")


def test_a_damaged_protein_is_not_merged(folder, tmp_path):
    shard = np.load(folder / "shard-00000.npy")
    np.save(folder / "shard-00000.npy", shard + np.float16(1))
    with pytest.raises(InputError, match="numbers of A were changed"):
        merge_stores([PatchStore(folder)], tmp_path / "z")


def test_the_index_says_what_is_in_the_shard(folder):
    entry = json.loads((folder / "shard-00002.json").read_text())
    assert (entry["ids"], entry["lengths"]) == (["C"], [96])
