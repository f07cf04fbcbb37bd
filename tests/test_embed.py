"""Embedding: what is missing is added, what was cut off goes on, and the bytes do not tell."""

import itertools
import multiprocessing
import os
import signal

import numpy as np
import pytest

from ppi_lib import embed
from ppi_lib.embed import PROFILE, Embedder, embed_proteins, load_embedder
from ppi_lib.errors import InputError
from ppi_lib.profile import profile_patches
from ppi_lib.proteins import Proteins
from ppi_lib.store import PatchStore, StoreInfo
from tests.conftest import random_sequence

TOY = StoreInfo("toy", "1", 3)


def toy(groups):
    """Give each patch its protein's length, backwards within a group."""
    for group in groups:
        for protein, sequence in reversed(group.items()):
            yield protein, np.full((-(-len(sequence) // 32), 3), len(sequence), dtype=np.float32)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


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


def test_an_embedder_may_answer_in_any_order_within_a_group(tmp_path, monkeypatch):
    monkeypatch.setattr("ppi_lib.shards.SHARD_PATCHES", 4)
    monkeypatch.setattr("ppi_lib.store.SHARD_PATCHES", 4)
    some = Proteins(sequences={f"P{n}": "A" * n for n in (5, 70, 33, 20, 129, 1)}, notes=())
    store = embed_proteins(some, tmp_path, embedder=Embedder(TOY, toy), progress=False)
    assert store.ids == list(some.sequences)
    assert all((store[p] == len(s)).all() and store.length(p) == len(s) for p, s in some.sequences.items())
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_all_cores_give_what_one_gives(tmp_path, monkeypatch):
    some = Proteins(sequences={f"P{i}": random_sequence(40, i) for i in range(30)}, notes=())
    monkeypatch.setattr(embed, "_WORTH_WORKERS", 10)
    store = embed_proteins(some, tmp_path, progress=False)
    for protein, sequence in some.sequences.items():
        assert np.array_equal(store[protein], profile_patches(sequence).astype(np.float16))


def test_a_protein_is_read_up_to_the_last_position(tmp_path):
    store = embed_proteins(Proteins(sequences={"A": "A" * 2000}, notes=()), tmp_path, progress=False)
    assert store.length("A") == 1502
    assert store["A"].shape == (47, 960)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("ppi_lib.shards.SHARD_PATCHES", 40)
    monkeypatch.setattr("ppi_lib.store.SHARD_PATCHES", 40)


def run_and_die(proteins: Proteins, out, last: int) -> int:
    """Embed in a process of its own that kills itself at the file number `last`; return its exit code."""
    count, replace = itertools.count(1), os.replace

    def replace_or_die(*paths):
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)

    def work():
        os.replace = replace_or_die
        embed_proteins(proteins, out, progress=False)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    return process.exitcode


def test_killed_at_any_file_it_goes_on_and_ends_with_the_same_bytes(tmp_path, small_shards):
    some = Proteins(sequences={f"P{i}": random_sequence(20 + 37 * i % 150, i) for i in range(60)}, notes=())
    assert run_and_die(some, tmp_path / "whole", 0) == 0
    shards = len(list((tmp_path / "whole").glob("*.npy")))
    assert shards > 3
    for last in range(1, 2 * shards + 3):  # the description, two files a shard, and the note of the end
        assert run_and_die(some, tmp_path / str(last), last) == -signal.SIGKILL
        assert run_and_die(some, tmp_path / str(last), 0) == 0
        assert contents(tmp_path / str(last)) == contents(tmp_path / "whole")
    assert PatchStore(tmp_path / "whole").ids == list(some.sequences)


def test_its_workers_die_with_it_and_the_store_is_free(tmp_path, small_shards, monkeypatch):
    monkeypatch.setattr(embed, "_WORTH_WORKERS", 10)
    some = Proteins(sequences={f"P{i}": random_sequence(1500, i) for i in range(60)}, notes=())
    assert run_and_die(some, tmp_path / "killed", 4) == -signal.SIGKILL
    assert run_and_die(some, tmp_path / "killed", 0) == 0
    assert PatchStore(tmp_path / "killed").ids == list(some.sequences)


def test_killed_again_and_again_it_still_ends_with_the_same_bytes(tmp_path, small_shards):
    some = Proteins(sequences={f"P{i}": random_sequence(20 + 37 * i % 150, i) for i in range(60)}, notes=())
    run_and_die(some, tmp_path / "whole", 0)
    while run_and_die(some, tmp_path / "killed", 4) != 0:  # a shard more each time
        pass
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_store_that_lacks_nothing_needs_no_embedder(tmp_path):
    some = Proteins(sequences={"A": "ACDEF"}, notes=())
    embed_proteins(some, tmp_path, embedder=Embedder(TOY, toy), progress=False)
    assert embed_proteins(some, tmp_path, wanted=TOY, progress=False).info == TOY
    more = Proteins(sequences={"A": "ACDEF", "B": "ACDEF"}, notes=())
    with pytest.raises(InputError, match=r"lacks 1 proteins\. It holds embeddings of toy .*'toy' is unknown"):
        embed_proteins(more, tmp_path, progress=False)


def test_other_embeddings_than_the_model_reads_are_refused_before_any_work(tmp_path):
    some = Proteins(sequences={"A": "ACDEF"}, notes=())
    older = PROFILE.info._replace(version="0")
    with pytest.raises(InputError, match=r"embeddings of profile \(version 2.*the model reads profile \(version 0"):
        embed_proteins(some, tmp_path / "s", wanted=older, progress=False)
    assert not (tmp_path / "s").exists()
    embed_proteins(some, tmp_path / "t", embedder=Embedder(TOY, toy), progress=False)
    with pytest.raises(InputError, match=r"embeddings of toy .*the model reads profile"):
        embed_proteins(some, tmp_path / "t", wanted=PROFILE.info, progress=False)
    with pytest.raises(InputError, match=r"holds a store of toy .*asked to write profile"):
        embed_proteins(some, tmp_path / "t", embedder="profile", progress=False)


def test_an_unknown_embedder_is_refused_with_the_names():
    with pytest.raises(InputError, match=r"'esmc' is unknown; expected profile, esmc_300m, .*ppi import"):
        load_embedder("esmc")
