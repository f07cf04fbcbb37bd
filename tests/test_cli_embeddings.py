"""`ppi embed`, `ppi import` and `ppi store`, and training from what they leave."""

import pickle
import re
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from transformers import EsmcConfig, EsmcModel, EsmcTokenizer

from ppi_lib import cli
from ppi_lib.checkpoint import load_checkpoint
from ppi_lib.datasets import make_demo
from ppi_lib.proteins import write_fasta, write_pairs
from ppi_lib.store import PatchStore

SMALL = ("--size", "v3", "--epochs", 1, "--quiet")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small demo, residue embeddings of another width for it, and a language model."""
    folder = tmp_path_factory.mktemp("files")
    data = make_demo(proteins=160, pairs=(200, 60, 80), shares=(0.5, 0.25, 0.25), domain=30, median_length=80)
    write_fasta(data.proteins, folder / "proteins.fasta")
    for split in ("train", "validation", "test"):
        write_pairs(getattr(data, split), folder / f"{split}.tsv")
    generator = np.random.default_rng(0)
    with h5py.File(folder / "e.h5", "w") as file:
        for protein, sequence in data.proteins.sequences.items():
            file[protein] = generator.normal(size=(len(sequence), 24)).astype(np.float16)
    torch.manual_seed(0)
    config = EsmcConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    EsmcModel(config).save_pretrained(folder / "model")
    EsmcTokenizer().save_pretrained(folder / "model")
    return folder


def ppi(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["ppi", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code, *capsys.readouterr()


@pytest.fixture
def call(monkeypatch, capsys):
    def call(*arguments) -> str:
        status, out, err = ppi(monkeypatch, capsys, *arguments)
        assert status == 0, err
        return out

    return call


def splits(files):
    return (files / "train.tsv", "--validation", files / "validation.tsv", "--test", files / "test.tsv")


def test_from_an_imported_file_to_scores(files, tmp_path, call, monkeypatch, capsys):
    fasta, store, run = files / "proteins.fasta", tmp_path / "store", tmp_path / "run"
    assert "160 proteins" in call("import", files / "e.h5", fasta, "--name", "prot_t5", "--out", store, "--quiet")
    call("train", fasta, *splits(files), "--store", store, "--out", run, *SMALL)
    checkpoint = load_checkpoint(run)
    assert checkpoint.model.config.embedding_width == 24
    assert checkpoint.embedding.embedder == "prot_t5"
    first = pd.read_csv(run / "evaluation.csv")["auroc"][0]
    call("evaluate", run, "--store", store, "--quiet")
    assert pd.read_csv(run / "evaluation.csv")["auroc"][0] == pytest.approx(first, abs=1e-9)
    call("predict", run, fasta, files / "test.tsv", "--store", store, "--out", tmp_path / "s.tsv", "--quiet")
    assert len(pd.read_csv(tmp_path / "s.tsv", sep="\t")) == 80
    status, _, err = ppi(monkeypatch, capsys, "predict", run, fasta, files / "test.tsv", "--out", tmp_path / "s.tsv")
    assert status == 2
    assert re.search("'prot_t5' is unknown.*ppi import", err), err
    profile = ("predict", run, fasta, files / "test.tsv", "--embedder", "profile", "--out", tmp_path / "s.tsv")
    status, _, err = ppi(monkeypatch, capsys, *profile)
    assert status == 2
    assert re.search(r"embeddings of profile .*the model reads prot_t5", err), err


def test_from_a_language_model_to_scores_by_way_of_a_pretrained_encoder(files, tmp_path, call):
    fasta, mae, run = files / "proteins.fasta", tmp_path / "mae", tmp_path / "run"
    call("pretrain", fasta, "--embedder", files / "model", "--out", mae, *SMALL)
    assert (mae / "reconstruction.csv").read_text().splitlines()[1].startswith("all")
    model = ("--embedder", files / "model")
    call("train", fasta, *splits(files), *model, "--encoder", mae, "--out", run, *SMALL)
    checkpoint = load_checkpoint(run)
    assert checkpoint.model.config.embedding_width == 16
    assert checkpoint.embedding.embedder == "esmc_2x16"
    call("predict", run, fasta, files / "test.tsv", *model, "--out", tmp_path / "s.tsv", "--quiet")
    scores = pd.read_csv(tmp_path / "s.tsv", sep="\t")
    call("predict", run, fasta, files / "test.tsv", "--store", run / "store", "--out", tmp_path / "t.tsv", "--quiet")
    assert np.allclose(scores["logit"], pd.read_csv(tmp_path / "t.tsv", sep="\t")["logit"], atol=0.02)


def test_an_encoder_of_another_embedder_is_refused_before_anything_is_embedded(
    files, tmp_path, call, monkeypatch, capsys
):
    call("pretrain", files / "proteins.fasta", "--embedder", files / "model", "--out", tmp_path / "mae", *SMALL)
    arguments = ("--embedder", "profile", "--encoder", tmp_path / "mae", "--out", tmp_path / "run", *SMALL)
    status, _, err = ppi(monkeypatch, capsys, "train", files / "proteins.fasta", *splits(files), *arguments)
    assert status == 2
    assert re.search("embeddings of profile .*reads esmc_2x16", err), err
    assert not (tmp_path / "run" / "store").exists()


def test_a_store_is_described_checked_and_merged(files, tmp_path, call, monkeypatch, capsys):
    call("embed", files / "proteins.fasta", "--embedder", files / "model", "--out", tmp_path / "s", "--quiet")
    described = call("store", "info", tmp_path / "s")
    for part in ("esmc_2x16 (version ", "160 proteins of", "standardisation", PatchStore(tmp_path / "s").made_by):
        assert part in described.replace("proteins         160", "160 proteins")
    assert "whole, 160 proteins" in call("store", "check", tmp_path / "s")
    assert "160 proteins" in call("store", "merge", tmp_path / "s", tmp_path / "s", "--out", tmp_path / "m")
    content = bytearray((tmp_path / "m" / "shard-00000.npy").read_bytes())
    content[500] ^= 1
    (tmp_path / "m" / "shard-00000.npy").write_bytes(content)
    status, _, err = ppi(monkeypatch, capsys, "store", "check", tmp_path / "m")
    assert status == 2
    assert re.search(r"shard-00000\.npy was changed, in 1 of its proteins.*Delete", err), err
    assert len(err.strip().splitlines()) == 1


def test_pickled_pairs_are_imported_for_who_trusts_them(tmp_path, call, monkeypatch, capsys):
    table = pd.DataFrame({"uniprotID_A": ["P1"], "uniprotID_B": ["P2"], "isInteraction": [1]})
    table.to_pickle(tmp_path / "p.pkl")
    status, _, err = ppi(monkeypatch, capsys, "import", tmp_path / "p.pkl", "--out", tmp_path / "p.tsv")
    assert status == 2
    assert "--trust-pickle" in err
    assert "1 pairs" in call("import", tmp_path / "p.pkl", "--trust-pickle", "--out", tmp_path / "p.tsv")
    assert (tmp_path / "p.tsv").exists()


@pytest.mark.parametrize("verb", [("import",), ("store", "info"), ("store", "check"), ("store", "merge")])
def test_help_shows_an_example(verb, call):
    assert f"Example: ppi {' '.join(verb)}" in call(*verb, "--help")


def bad_calls(files, folder):
    (folder / "e.pkl").write_bytes(pickle.dumps({}))
    fasta, out = files / "proteins.fasta", ("--out", folder / "s")
    return {
        "'esmc' is unknown; expected profile": ("embed", fasta, "--embedder", "esmc", *out),
        "precision is 'half'": ("embed", fasta, "--embedder", files / "model", "--precision", "half", *out),
        "device is 'gpu9'": ("embed", fasta, "--embedder", files / "model", "--device", "gpu9", *out),
        "no language model here": ("embed", fasta, "--embedder", folder, *out),
        "give the sequences too": ("import", files / "e.h5", *out),
        "not opened, since a pickle": ("import", folder / "e.pkl", fasta, *out),
        "there is no such file": ("import", folder / "no.h5", fasta, *out),
        "no patch store": ("store", "info", folder),
        "no patch store ": ("store", "check", folder),
    }


@pytest.mark.parametrize("case", range(9))
def test_bad_input_is_one_line_and_status_2(case, files, tmp_path, monkeypatch, capsys):
    message, arguments = list(bad_calls(files, tmp_path).items())[case]
    status, _, err = ppi(monkeypatch, capsys, *arguments)
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err), err
