"""The command line as a user meets it: files in, files out, one line for what is wrong."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ppi_lib import cli
from ppi_lib.checkpoint import create_ppi_classifier, load_checkpoint
from ppi_lib.datasets import make_demo
from ppi_lib.encoder import PRESETS
from ppi_lib.proteins import read_proteins, write_fasta, write_pairs
from tests.test_truth import write_pdb


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small demo as a user would have it: a FASTA file and a table for each split."""
    folder = tmp_path_factory.mktemp("files")
    data = make_demo(proteins=160, pairs=(200, 60, 80), shares=(0.5, 0.25, 0.25), domain=30, median_length=80)
    write_fasta(data.proteins, folder / "proteins.fasta")
    for split in ("train", "validation", "test"):
        write_pairs(getattr(data, split), folder / f"{split}.tsv")
    return folder


def ppi(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["ppi", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code, *capsys.readouterr()


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    out = folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        splits = ["--validation", files / "validation.tsv", "--test", files / "test.tsv"]
        arguments = [
            files / "proteins.fasta",
            files / "train.tsv",
            *splits,
            "--size",
            "v3",
            "--epochs",
            2,
            "--out",
            out,
        ]
        patch.setattr(sys, "argv", ["ppi", "train", *map(str, arguments), "--quiet"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert stop.value.code == 0
    return out


def test_train_leaves_model_history_data_and_evaluation(run):
    left = {path.name for path in run.iterdir()}
    assert {"model.safetensors", "config.json", "history.csv", "evaluation.csv", "data", "store"} <= left
    table = pd.read_csv(run / "evaluation.csv")
    assert table["pairs"].tolist() == [80]
    assert table["auroc_low"][0] <= table["auroc"][0] <= table["auroc_high"][0]


def test_evaluate_gives_the_numbers_of_training_again_and_the_baselines(run, monkeypatch, capsys):
    before = pd.read_csv(run / "evaluation.csv")
    status, out, _ = ppi(monkeypatch, capsys, "evaluate", run, "--baselines", "--quiet")
    after = pd.read_csv(run / "evaluation.csv")
    assert status == 0
    assert after["auroc"][0] == pytest.approx(before["auroc"][0], abs=1e-9)
    assert (after["group"] == "baseline").sum() == 15
    assert "95% intervals over proteins" in out


@pytest.mark.parametrize("suffix", ["parquet", "tsv", "csv"])
def test_predict_scores_every_pair_in_order(files, run, tmp_path, monkeypatch, capsys, suffix):
    target = tmp_path / f"scores.{suffix}"
    arguments = (run, files / "proteins.fasta", files / "test.tsv", "--out", target, "--quiet")
    assert ppi(monkeypatch, capsys, "predict", *arguments)[0] == 0
    readers = {"parquet": pd.read_parquet, "csv": pd.read_csv, "tsv": lambda path: pd.read_csv(path, sep="\t")}
    scores, pairs = readers[suffix](target), pd.read_csv(files / "test.tsv", sep="\t")
    assert scores["protein_a"].tolist() == pairs.iloc[:, 0].tolist()
    assert scores["protein_b"].tolist() == pairs.iloc[:, 1].tolist()
    calibration = load_checkpoint(run).calibration
    assert calibration.method == "temperature"
    assert np.allclose(scores["probability"], calibration.probabilities(scores["logit"]))


def test_predict_says_probabilities_for_the_prevalence_that_is_asked_for(files, run, tmp_path, monkeypatch, capsys):
    arguments = (run, files / "proteins.fasta", files / "test.tsv", "--quiet")
    tables = {}
    for name, options in {"own": (), "rare": ("--prevalence", 0.01)}.items():
        target = tmp_path / f"{name}.csv"
        status, out, err = ppi(monkeypatch, capsys, "predict", *arguments, "--out", target, *options)
        assert status == 0, err
        tables[name] = pd.read_csv(target)
    assert "calibrated (temperature) for 0.01 of the pairs being positive" in out
    odds = [table["probability"] / (1 - table["probability"]) for table in tables.values()]
    assert np.allclose(odds[1] / odds[0], 1 / 99)
    assert tables["rare"]["interacts"].equals(tables["own"]["interacts"])


def test_predict_says_how_far_the_weights_are_to_be_believed(files, run, tmp_path, monkeypatch, capsys):
    arguments = (run, files / "proteins.fasta", files / "test.tsv", "--quiet", "--out", tmp_path / "scores.csv")
    assert ppi(monkeypatch, capsys, "predict", *arguments, "--samples", 5)[0] == 0
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert (scores["deviation"] > 0).all()
    assert (scores["knowledge"] >= 0).all()
    status, _, err = ppi(monkeypatch, capsys, "predict", *arguments, "--samples", 1)
    assert status
    assert "--samples is 1; expected 0 for none, or at least 2" in err


def test_audit_says_what_it_found_and_leaves_the_tables(files, tmp_path, monkeypatch, capsys):
    splits = ("--validation", files / "validation.tsv", "--test", files / "test.tsv")
    arguments = (files / "proteins.fasta", files / "train.tsv", *splits, "--out", tmp_path / "audit")
    status, out, err = ppi(monkeypatch, capsys, "audit", *arguments)
    assert status == 0, err
    assert "No protein of the 80 test pairs was seen before" in out
    assert "Length alone: AUROC" in out
    left = {path.stem for path in (tmp_path / "audit").iterdir()}
    assert left == {
        *("findings", "classes", "shared_pairs", "conflicts", "duplicates", "searched", "neighbours", "degree"),
        "without_biology",
    }


def test_audit_says_what_was_dropped_on_reading(files, tmp_path, monkeypatch, capsys):
    header, *rows = (files / "train.tsv").read_text().splitlines()
    turned = ["\t".join((b, a, *rest)) for a, b, *rest in (row.split("\t") for row in rows[:7])]
    (tmp_path / "train.tsv").write_text("\n".join([header, *rows, *turned]) + "\n")
    splits = ("--validation", files / "validation.tsv", "--test", files / "test.tsv", "--sample", 0)
    status, out, err = ppi(monkeypatch, capsys, "audit", files / "proteins.fasta", tmp_path / "train.tsv", *splits)
    assert status == 0, err
    assert "7 pairs of train.tsv dropped, as they stood before in either order" in out + err


def test_split_takes_any_word_for_a_place(one_table, tmp_path, monkeypatch, capsys):
    table = pd.read_csv(one_table / "pairs.tsv", sep="\t", dtype=str)
    proteins = sorted({*table.iloc[:, 0], *table.iloc[:, 1]})
    (tmp_path / "places.tsv").write_text("".join(f"{one}\tNA\n" for one in proteins))
    arguments = (one_table / "proteins.fasta", one_table / "pairs.tsv", "--identity", 0, "--out", tmp_path / "split")
    places = ("--negatives", "compartment", "--compartments", tmp_path / "places.tsv")
    status, _, err = ppi(monkeypatch, capsys, "split", *arguments, *places)
    assert status == 0, err


def test_report_makes_one_page_of_everything(run, monkeypatch, capsys):
    status, out, err = ppi(monkeypatch, capsys, "report", run, "--draws", 20, "--quiet")
    assert status == 0, err
    assert "report.html" in out
    page = (run / "report.html").read_text()
    assert len(page) < 8e6
    assert page.count("plotly.js v") == 1
    for text in ("No protein of the 80 test pairs was seen", "interolog", "Temperature, fitted on 60", "C3", "Limits"):
        assert text in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", page)
    assert {"roc.csv", "reliability.csv", "strata.csv"} <= {path.name for path in (run / "figures").iterdir()}


def test_screen_keeps_the_best_partners_and_is_there_the_second_time(files, run, tmp_path, monkeypatch, capsys):
    target = tmp_path / "screen.parquet"
    arguments = ("screen", run, files / "proteins.fasta", "--out", target, "--top-k", 2, "--quiet")
    status, out, err = ppi(monkeypatch, capsys, *arguments)
    assert status == 0, err
    assert "12,720 pairs screened" in out
    assert "calibrated (temperature)" in out
    table = pd.read_parquet(target)
    assert np.allclose(table["probability"], load_checkpoint(run).calibration.probabilities(table["logit"]))
    assert 160 <= len(table) <= 320
    assert ((table["rank_in_a"] <= 2) | (table["rank_in_b"] <= 2)).all()
    assert ppi(monkeypatch, capsys, *arguments)[0] == 0
    assert pd.read_parquet(target).equals(table)
    status, _, err = ppi(monkeypatch, capsys, *arguments[:-3], "--top-k", 3)
    assert status == 2
    assert "another top_k 2 (now 3)" in err


def test_embed_makes_a_store(files, tmp_path, monkeypatch, capsys):
    status, out, _ = ppi(monkeypatch, capsys, "embed", files / "proteins.fasta", "--out", tmp_path / "s", "--quiet")
    assert status == 0
    assert "160 proteins" in out
    assert (tmp_path / "s" / "store.json").exists()


def test_pretrain_leaves_an_encoder_that_a_classifier_takes(files, tmp_path, monkeypatch, capsys):
    arguments = (files / "proteins.fasta", "--size", "v3", "--epochs", 1, "--out", tmp_path / "mae", "--quiet")
    status, out, err = ppi(monkeypatch, capsys, "pretrain", *arguments)
    assert status == 0, err
    assert re.search(r"No validation proteins given: \d+, drawn with seed 0", err)
    assert "visible_mean" in out
    assert "whole protein" in out
    left = {path.name for path in (tmp_path / "mae").iterdir()}
    assert {"encoder.safetensors", "history.csv", "reconstruction.csv", "pretraining.pt", "store"} <= left
    create_ppi_classifier(mae_checkpoint_path=tmp_path / "mae", config=PRESETS["v3"])


def test_attribute_leaves_tables_and_figures(files, run, tmp_path, monkeypatch, capsys):
    pairs = pd.read_csv(files / "test.tsv", sep="\t")
    a, b = pairs.iloc[0, :2]
    sequences = read_proteins(files / "proteins.fasta").sequences
    write_pdb(tmp_path / "x.pdb", {"H": (sequences[a], 5.0, 1), "L": (sequences[b], 0.0, 1)})
    arguments = (run, files / "proteins.fasta", a, b, "--out", tmp_path / "e", "--samples", 3, "--quiet")
    complex_ = ("--structure", tmp_path / "x.pdb", "--chains", "H", "L")
    status, out, err = ppi(monkeypatch, capsys, "attribute", *arguments, *complex_)
    assert status == 0, err
    assert re.search(r"The highest score, \S+, is that of residues \d+ to \d+ of DEMO", out)
    table = pd.read_csv(tmp_path / "e" / "patches.csv")
    assert table["protein"].unique().tolist() == [a, b]
    assert set(pd.read_csv(tmp_path / "e" / "weights.csv")["layer"]) == {1, 2}
    assert "Interface: " in out
    assert set(pd.read_csv(tmp_path / "e" / "interface.csv")["method"]) == {"shapley_tokens"}


def test_one_table_is_split_by_protein(tmp_path, monkeypatch, capsys):
    data = make_demo(proteins=400, pairs=(3000, 20, 20), shares=(0.8, 0.1, 0.1), domain=30, median_length=80)
    write_fasta(data.proteins, tmp_path / "proteins.fasta")
    write_pairs(data.train, tmp_path / "pairs.tsv")
    arguments = (
        tmp_path / "proteins.fasta",
        tmp_path / "pairs.tsv",
        "--out",
        tmp_path / "run",
        "--size",
        "v3",
        "--epochs",
        1,
    )
    status, out, err = ppi(monkeypatch, capsys, "train", *arguments, "--quiet")
    assert status == 0, err
    splits = [pd.read_csv(tmp_path / "run" / "data" / f"{s}.tsv", sep="\t") for s in ("train", "validation", "test")]
    sets = [set(table.iloc[:, 0]) | set(table.iloc[:, 1]) for table in splits]
    assert sets[0].isdisjoint(sets[1] | sets[2])
    assert sets[1].isdisjoint(sets[2])
    assert "dropped" in err
    assert "test pairs" in out


@pytest.fixture(scope="module")
def one_table(tmp_path_factory):
    """A FASTA file, and a single table with enough pairs to be split."""
    folder = tmp_path_factory.mktemp("table")
    data = make_demo(proteins=400, pairs=(3000, 20, 20), shares=(0.8, 0.1, 0.1), domain=30, median_length=80)
    write_fasta(data.proteins, folder / "proteins.fasta")
    write_pairs(data.train, folder / "pairs.tsv")
    return folder


def test_split_draws_negatives_and_leaves_what_train_takes(one_table, tmp_path, monkeypatch, capsys):
    table = pd.read_csv(one_table / "pairs.tsv", sep="\t")
    table[table["label"] == 1].iloc[:, :2].to_csv(tmp_path / "positives.tsv", sep="\t", index=False)
    arguments = (one_table / "proteins.fasta", tmp_path / "positives.tsv", "--out", tmp_path / "split")
    status, _, err = ppi(monkeypatch, capsys, "split", *arguments, "--negatives", "degree", "--identity", 0)
    assert status == 0, err
    assert "scheme 'degree', 1 for each positive" in (tmp_path / "split" / "split.json").read_text()
    parts = [pd.read_csv(tmp_path / "split" / f"{s}.tsv", sep="\t") for s in ("train", "validation", "test")]
    assert all(part["label"].mean() == 0.5 for part in parts)
    sets = [set(part.iloc[:, 0]) | set(part.iloc[:, 1]) for part in parts]
    assert sets[0].isdisjoint(sets[1] | sets[2])


def test_split_says_what_it_leaves_out_and_never_writes_over_what_it_reads(one_table, tmp_path, monkeypatch, capsys):
    labels = pd.read_csv(one_table / "pairs.tsv", sep="\t")["label"]
    arguments = ("split", one_table / "proteins.fasta", one_table / "pairs.tsv", "--identity", 0)
    status, _, err = ppi(monkeypatch, capsys, *arguments, "--negatives", "uniform", "--out", tmp_path / "split")
    assert status == 0, err
    assert f"{(labels == 0).sum():,} pairs labelled 0 left out" in err
    before = (one_table / "proteins.fasta").read_bytes()
    status, _, err = ppi(monkeypatch, capsys, *arguments, "--out", one_table)
    assert status == 2
    assert "would write its copy of the data" in err
    assert (one_table / "proteins.fasta").read_bytes() == before


def test_split_leaves_tests_by_class_and_keeps_relatives_together(one_table, tmp_path, monkeypatch, capsys):
    arguments = (one_table / "proteins.fasta", one_table / "pairs.tsv", "--out", tmp_path / "split", "--classes")
    status, _, err = ppi(monkeypatch, capsys, "split", *arguments, "--identity", 0.8)
    assert status == 0, err
    assert "homology clusters dealt whole" in err
    assert {path.stem for path in (tmp_path / "split").glob("*.tsv")} == {
        *("train", "validation", "test", "test_c1", "test_c2")
    }


@pytest.mark.parametrize(
    "verb",
    ["attribute", "audit", "split", "embed", "pretrain", "train", "evaluate", "predict", "screen", "report", "run"],
)
def test_help_shows_an_example(verb, monkeypatch, capsys):
    status, out, _ = ppi(monkeypatch, capsys, verb, "--help")
    assert status == 0
    assert f"Example: ppi {verb}" in out


def bad_calls(files, run, folder):
    (folder / "unknown.tsv").write_text("DEMO0001\tNOPE\n")
    (folder / "negative.tsv").write_text("DEMO0001\tDEMO0002\t0\n")
    (folder / "label.tsv").write_text("DEMO0001\tDEMO0002\t1\nDEMO0001\tDEMO0003\t2\n")
    (folder / "a.tsv").mkdir()
    (folder / "p.tsv").touch()
    fasta = files / "proteins.fasta"
    return {
        "No such file|not found|does not exist|isn't there|no file": (
            "embed",
            folder / "none.fasta",
            "--out",
            folder / "s",
        ),
        "NOPE": ("predict", run, fasta, folder / "unknown.tsv", "--out", folder / "x.tsv"),
        "expected .parquet, .tsv, .csv": ("predict", run, fasta, files / "test.tsv", "--out", folder / "x.xls"),
        "top_k is 160; expected 1 to 159": (
            "screen",
            run,
            fasta,
            "--top-k",
            160,
            "--out",
            folder / "s.parquet",
            "--quiet",
        ),
        "writes .parquet": ("screen", run, fasta, "--out", folder / "s.tsv", "--quiet"),
        "expected one of uniform, degree, compartment": (
            *("split", fasta, files / "train.tsv", "--out", folder / "s", "--negatives", "random"),
        ),
        "expected both or neither": (
            *("split", fasta, files / "train.tsv", "--out", folder / "s", "--negatives", "compartment"),
        ),
        "expected at least 1, and 1000 for a figure": ("report", run, "--draws", 0),
        "--sample is -1; expected 0": ("report", run, "--sample", -1),
        "sample is -1; expected 0": (
            *("audit", fasta, files / "train.tsv", "--validation", files / "validation.tsv"),
            *("--test", files / "test.tsv", "--sample", -1),
        ),
        "--ratio is 5, and no negatives are drawn": (
            *("split", fasta, files / "train.tsv", "--out", folder / "s", "--ratio", 5),
        ),
        "None of the 1 pairs is labelled 1": (
            *("split", fasta, folder / "negative.tsv", "--out", folder / "s", "--negatives", "degree"),
        ),
        "Give a FASTA file and a table of pairs, or --dataset; see `ppi audit": ("audit", fasta, "--dataset", "demo"),
        "Give a FASTA file and a table of pairs, or --dataset; see `ppi train": (
            *("train", fasta, "--dataset", "demo", "--out", folder / "s"),
        ),
        "prevalence is 2": (
            *("predict", run, fasta, files / "test.tsv", "--out", folder / "x.tsv"),
            *("--prevalence", 2),
        ),
        "no trained model": ("predict", folder, fasta, files / "test.tsv", "--out", folder / "x.tsv"),
        "line 2": ("train", fasta, folder / "label.tsv", "--out", folder / "r"),
        "Give a FASTA file or --dataset": ("pretrain", "--out", folder / "r"),
        "mask_ratio is 1": ("pretrain", fasta, "--mask-ratio", 1, "--out", folder / "r"),
        "a table of pairs, or --dataset": ("train", fasta, "--out", folder / "r"),
        "expected one of demo, bernett": ("train", "--dataset", "nope", "--out", folder / "r"),
        "can't be made": ("train", "--dataset", "demo", "--out", folder / "label.tsv"),
        "one of the files that are read": ("predict", run, fasta, files / "test.tsv", "--out", files / "test.tsv"),
        "would write its copy": ("train", folder / "data" / "p.fasta", fasta, "--out", folder),
        "there is no such file": (
            "train",
            "--dataset",
            "demo",
            "--encoder",
            folder / "nowhere",
            "--out",
            folder / "r",
        ),
        "has no protein NOPE": ("attribute", run, fasta, "DEMO0001", "NOPE", "--out", folder / "e"),
        "there is no such file. Check": (
            *("attribute", run, fasta, "DEMO0001", "DEMO0002", "--out", folder / "e"),
            *("--structure", folder / "nowhere.pdb"),
        ),
        "steps is 0": ("attribute", run, fasta, "DEMO0001", "DEMO0002", "--steps", 0, "--out", folder / "e"),
        "epochs is 0": ("train", "--dataset", "demo", "--epochs", 0, "--out", folder / "r"),
        "expected -p NAME VALUE": ("run-notebook", "05_evaluate", "-p", "dataset"),
        "is a folder; expected a file": ("predict", run, fasta, files / "test.tsv", "--out", folder / "a.tsv"),
        "below 2 to the 63rd": ("train", "--dataset", "demo", "--seed", 2**63, "--out", folder / "r"),
        "p.tsv: can't be read as a table": (
            *("split", fasta, files / "train.tsv", "--out", folder / "s"),
            *("--negatives", "compartment", "--compartments", folder / "p.tsv"),
        ),
    }


@pytest.mark.parametrize("case", range(32))
def test_bad_input_is_one_line_and_status_2(case, files, run, tmp_path, monkeypatch, capsys):
    message, arguments = list(bad_calls(files, run, tmp_path).items())[case]
    status, _, err = ppi(monkeypatch, capsys, *arguments)
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err), err


def test_the_help_comes_without_torch():
    code = "import sys; from ppi_lib import cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
