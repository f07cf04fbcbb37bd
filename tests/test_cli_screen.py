"""What is wrong with a screening is one line and status 2, before any long work; what was whole stays so."""

import re
import resource
import signal
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import ppi_lib.cluster
from ppi_lib.calibrate import Calibration
from ppi_lib.checkpoint import Checkpoint, create_ppi_classifier, save_checkpoint, save_model
from ppi_lib.embed import embed_proteins
from ppi_lib.profile import VERSION
from ppi_lib.proteins import Proteins, write_fasta
from ppi_lib.store import StoreInfo, StoreWriter
from tests.conftest import TINY, random_sequence
from tests.test_cli import ppi
from tests.test_scorer import shaken
from tests.test_screen import SCRIPT, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, a FASTA file of six proteins, a store of another width and one of another embedder."""
    folder = tmp_path_factory.mktemp("inputs")
    write_fasta(some_proteins(6), folder / "p.fasta")
    info = StoreInfo("profile", VERSION, 960)
    for name, seed in (("run", 0), ("other", 5)):
        model = shaken(create_ppi_classifier(config=TINY, seed=seed))
        save_checkpoint(Checkpoint(model, info, 0.5, {}, Calibration()), folder / name)
    for name, width in (("narrow", 8), ("foreign", 960)):
        with StoreWriter(folder / name, StoreInfo("prot_x", "1", width)) as writer:
            writer.add("Q0", np.ones((1, width)), 30, "0")
    return folder


def some_proteins(count: int) -> Proteins:
    return Proteins(sequences={f"P{i}": random_sequence(25 + i % 7, i) for i in range(count)}, notes=())


BAD = {
    "embeddings of prot_x .*width 8.* the model reads profile": ("--store", "narrow"),
    "embeddings of prot_x .*width 960.* the model reads profile": ("--store", "foreign"),
    "top_k is 0; expected 1 to 5": ("--top-k", 0),
    "top_k is 6; expected 1 to 5": ("--top-k", 6),
    "workers is -1; expected 0": ("--workers", -1),
    "precision is 'half'; expected 'auto'": ("--precision", "half"),
    "nonsense: no Dask scheduler answers": ("--scheduler", "nonsense"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line_and_leaves_no_result(folder, tmp_path, monkeypatch, capsys, message):
    name, value = BAD[message]
    value = folder / value if name == "--store" else value
    arguments = ("screen", folder / "run", folder / "p.fasta", "--out", tmp_path / "s.parquet", "--quiet")
    status, _, err = ppi(monkeypatch, capsys, *arguments, name, value)
    assert status == 2
    assert err.count("\n") == 1
    assert re.search(message, err)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".parquet"]
    if name != "--store":  # said before anything is embedded
        assert not list(tmp_path.iterdir())


def test_a_protein_that_is_not_there_is_named(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "pairs.tsv").write_text("protein_a\tprotein_b\nP0\tNOPE\n")
    arguments = ("predict", folder / "run", folder / "p.fasta", tmp_path / "pairs.tsv", "--out", tmp_path / "s.tsv")
    status, _, err = ppi(monkeypatch, capsys, *arguments, "--quiet")
    assert status == 2
    assert "NOPE" in err


def test_files_that_are_there_are_refused_unless_they_are_this_screening(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "s.parquet"
    arguments = ("screen", folder / "run", folder / "p.fasta", "--out", out, "--quiet")
    out.write_text("hello")
    status, _, err = ppi(monkeypatch, capsys, *arguments)
    assert (status, out.read_text()) == (2, "hello")
    assert "is there and was not written by a screening" in err
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]
    out.unlink()
    assert ppi(monkeypatch, capsys, *arguments)[0] == 0
    content = out.read_bytes()
    assert ppi(monkeypatch, capsys, *arguments)[0] == 0  # done already
    status, _, err = ppi(monkeypatch, capsys, "screen", folder / "other", *arguments[2:])
    assert (status, out.read_bytes()) == (2, content)
    assert "was written with another model" in err
    status, _, err = ppi(monkeypatch, capsys, *arguments, "--top-k", 2)
    assert (status, out.read_bytes()) == (2, content)
    assert "another top_k None (now 2)" in err


def test_a_scheduler_that_does_not_answer_is_said_within_seconds(folder, tmp_path, monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    assert ppi_lib.cluster._PATIENCE <= 10
    monkeypatch.setattr(ppi_lib.cluster, "_PATIENCE", 2)
    arguments = ("screen", folder / "run", folder / "p.fasta", "--out", tmp_path / "s.parquet", "--quiet")
    status, _, err = ppi(monkeypatch, capsys, *arguments, "--scheduler", address)
    assert status == 2
    assert f"{address}: no Dask scheduler answers" in err
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_in_the_middle_keeps_what_is_whole(tmp_path):
    """The first block fits into the largest file that may be written, the second one does not."""
    model, out = shaken(create_ppi_classifier(config=TINY)), tmp_path / "s.parquet"
    store = embed_proteins(some_proteins(300), tmp_path / "store", progress=False)
    options = {"top_k": None, "band": 150}
    whole = run(model, store, tmp_path / "whole.parquet", **options)
    save_model(model, tmp_path / "model")
    script = SCRIPT.replace("top_k=3", "top_k=None").replace("band=4", "band=150")
    command = [sys.executable, "-c", script, *map(str, (tmp_path / "model", store.path, out))]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))

    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode != 0
    assert "InputError" in done.stderr.splitlines()[-1]
    assert "could not be written" in done.stderr
    assert "File too large" in done.stderr
    parts = sorted((tmp_path / "s.parquet.parts").glob("part-*"))
    assert [path.name for path in parts] == ["part-000000-000000.parquet"]
    assert len(pq.read_table(parts[0])) == 150 * 149 // 2
    assert not out.exists()
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    table = pd.read_parquet(out).astype({"protein_a": str, "protein_b": str})
    assert table.equals(whole)
