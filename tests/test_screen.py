"""A screening has every pair once, what was asked for is kept, and a stop at any moment changes nothing."""

import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import ppi_lib.blocks
import ppi_lib.screen
from ppi_lib.calibrate import Calibration
from ppi_lib.checkpoint import create_ppi_classifier, save_model
from ppi_lib.errors import InputError
from ppi_lib.predict import predict_pairs
from ppi_lib.proteins import Pairs
from ppi_lib.screen import screen
from ppi_lib.store import StoreInfo, StoreWriter
from tests.test_scorer import shaken

COLUMNS = ["protein_a", "protein_b", "probability", "logit", "rank_in_a", "rank_in_b"]


@pytest.fixture(scope="module")
def model():
    from tests.conftest import TINY

    return shaken(create_ppi_classifier(config=TINY))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "screen.parquet"


def run(model, store, out, *sets, **options) -> pd.DataFrame:
    """Screen in bands of 16, so that forty proteins make six blocks."""
    result = screen(model, store, *sets, out=out, **{"precision": "float32", "band": 16, "progress": False, **options})
    table = pq.read_table(out).to_pandas()
    assert result.kept == len(table)
    return table.astype({"protein_a": str, "protein_b": str})


def names(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    return table["protein_a"], table["protein_b"]


def keys(table: pd.DataFrame) -> list[frozenset]:
    return [frozenset(pair) for pair in zip(*names(table), strict=True)]


def expected_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Each protein's partners in a plain table, both ways, best first."""
    other = table.rename(columns={"protein_a": "protein_b", "protein_b": "protein_a"})
    both = pd.concat([table, other[other["protein_a"] != other["protein_b"]]])[["protein_a", "protein_b", "logit"]]
    both["rank"] = both.groupby("protein_a")["logit"].rank(ascending=False, method="min").astype(int)
    return both.set_index(["protein_a", "protein_b"])["rank"]


@pytest.mark.parametrize(("precision", "band", "tolerance"), [("float32", 16, 1e-5), ("bfloat16", 40, 0.02)])
def test_all_pairs_stand_once_with_the_logits_of_predict(precision, band, tolerance, model, store, out):
    table = run(model, store, out, precision=precision, band=band)
    assert list(table) == COLUMNS
    assert len(table) == 40 * 39 // 2
    assert len(set(keys(table))) == len(table)
    assert {len(key) for key in keys(table)} == {2}
    pairs = Pairs(a=table["protein_a"].to_numpy(object), b=table["protein_b"].to_numpy(object), labels=None, notes=())
    predicted = predict_pairs(model, store, pairs, precision=precision, progress=False)
    assert np.allclose(table["logit"], predicted.logits, atol=tolerance)
    assert np.allclose(table["probability"], 1 / (1 + np.exp(-table["logit"].astype(float))), rtol=1e-5)


def test_ranks_are_those_of_each_proteins_partners(model, store, out):
    table = run(model, store, out)
    ranks = expected_ranks(table)
    assert table["rank_in_a"].tolist() == [ranks[a, b] for a, b in zip(*names(table), strict=True)]
    assert table["rank_in_b"].tolist() == [ranks[b, a] for a, b in zip(*names(table), strict=True)]


@pytest.mark.parametrize("top_k", [1, 3, 20, 39])
def test_top_k_keeps_the_best_partners_of_each_protein(model, store, tmp_path, top_k):
    whole = run(model, store, tmp_path / "all.parquet")
    best = whole[(whole["rank_in_a"] <= top_k) | (whole["rank_in_b"] <= top_k)]
    table = run(model, store, tmp_path / "top.parquet", top_k=top_k)
    assert table[COLUMNS[:4]].equals(best[COLUMNS[:4]].reset_index(drop=True))
    for side in ("rank_in_a", "rank_in_b"):
        known = best[side].where(best[side] <= top_k).reset_index(drop=True)
        assert table[side].astype("Float64").equals(known.astype("Float64"))


def test_threshold_keeps_what_is_above_it_with_its_true_ranks(model, store, tmp_path):
    whole = run(model, store, tmp_path / "all.parquet")
    threshold = float(whole["probability"].quantile(0.9))
    table = run(model, store, tmp_path / "top.parquet", threshold=threshold)
    assert 60 < len(table) < 90
    assert table.equals(whole[whole["probability"] >= threshold].reset_index(drop=True))


def test_probabilities_are_calibrated_and_the_threshold_is_one_of_them(model, store, tmp_path):
    calibration = Calibration(temperature=0.5, prevalence=0.5, pairs=100)
    settings = {"calibration": calibration, "prevalence": 0.1}
    whole = run(model, store, tmp_path / "all.parquet", **settings)
    odds = np.exp(2 * whole["logit"].astype(float)) / 9
    assert np.allclose(whole["probability"], odds / (1 + odds), rtol=1e-4)
    threshold = float(whole["probability"].quantile(0.8))
    table = run(model, store, tmp_path / "top.parquet", threshold=threshold, **settings)
    assert table.equals(whole[whole["probability"] >= threshold].reset_index(drop=True))


def test_a_result_of_another_calibration_is_not_taken_for_done(model, store, out):
    run(model, store, out)
    with pytest.raises(InputError, match=r"calibration none .*now temperature"):
        run(model, store, out, calibration=Calibration(temperature=2.0, prevalence=0.5, pairs=100))


def test_self_pairs_stand_once_and_are_ranked_once(model, store, out):
    table = run(model, store, out, self_pairs=True)
    assert len(table) == 40 * 41 // 2
    same = table[table["protein_a"] == table["protein_b"]]
    assert len(same) == 40
    assert (same["rank_in_a"] == same["rank_in_b"]).all()
    assert max(table["rank_in_a"].max(), table["rank_in_b"].max()) == 40
    ranks = expected_ranks(table)
    assert table["rank_in_a"].tolist() == [ranks[a, b] for a, b in zip(*names(table), strict=True)]


def test_two_sets_give_every_combination_but_a_protein_with_itself(model, store, out):
    a, b = store.ids[:20], store.ids[15:]
    table = run(model, store, out, a, b)
    assert set(table["protein_a"]) == set(a)
    assert set(table["protein_b"]) == set(b)
    assert len(table) == 20 * 25 - 5
    assert not (table["protein_a"] == table["protein_b"]).any()
    for side, protein in (("rank_in_a", "protein_a"), ("rank_in_b", "protein_b")):
        expected = table.groupby(protein)["logit"].rank(ascending=False, method="min").astype(int)
        assert table[side].tolist() == expected.tolist()


def test_top_k_between_two_sets_is_of_each_protein_of_the_first(model, store, tmp_path):
    a, b = store.ids[:3], store.ids[3:]
    whole = run(model, store, tmp_path / "all.parquet", a, b)
    table = run(model, store, tmp_path / "top.parquet", a, b, top_k=5)
    assert table.groupby("protein_a").size().tolist() == [5, 5, 5]
    assert set(keys(table)) == set(keys(whole[whole["rank_in_a"] <= 5]))


def test_the_size_of_a_band_changes_nothing(model, store, tmp_path):
    tables = [run(model, store, tmp_path / f"{band}.parquet", top_k=4, band=band) for band in (7, 40, 512)]
    for table in tables[1:]:
        assert set(keys(table)) == set(keys(tables[0]))


def test_bfloat16_ranks_pairs_alike(model, store, tmp_path):
    exact, rough = (
        run(model, store, tmp_path / f"{precision}.parquet", precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert (exact["logit"] - rough["logit"]).abs().max() > 0
    assert exact["logit"].corr(rough["logit"], method="spearman") > 0.9


def test_the_file_and_a_json_beside_it_say_where_it_comes_from(model, store, out):
    result = screen(model, store, out=out, top_k=2, precision="float32", progress=False)
    inside = json.loads(pq.read_schema(out).metadata[b"ppi_lib"])
    assert inside == result.provenance == json.loads((out.parent / "screen.parquet.json").read_text())
    assert inside["of"]["store"] == store.fingerprint(store.ids)
    assert inside["of"]["precision"] == "float32"
    assert inside["by"]["torch"] == torch.__version__
    assert sorted(path.name for path in out.parent.iterdir()) == ["screen.parquet", "screen.parquet.json"]


def test_a_finished_screening_is_not_done_again(model, store, out, monkeypatch):
    table = run(model, store, out, top_k=3)
    monkeypatch.setattr(ppi_lib.screen, "score_block", None)
    assert run(model, store, out, top_k=3).equals(table)


STOPS = ["encode_factors", "score_block", "write_part", "write_ranked"]


@pytest.mark.parametrize("step", STOPS)
def test_stopped_at_any_step_it_goes_on_without_doing_anything_twice(step, model, store, tmp_path, monkeypatch):
    whole = run(model, store, tmp_path / "whole.parquet", top_k=3)
    real, calls = getattr(ppi_lib.screen, step), []

    def stop_at_second(*arguments, **options):
        calls.append(step)
        if len(calls) == (1 if step == "write_ranked" else 2):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(ppi_lib.screen, step, stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        run(model, store, tmp_path / "s.parquet", top_k=3)
    assert run(model, store, tmp_path / "s.parquet", top_k=3).equals(whole)
    once = {"encode_factors": 3, "score_block": 6, "write_part": 6, "write_ranked": 1}[step]
    assert len(calls) == once + 1


def test_a_full_disk_is_said_and_what_is_whole_stays(model, store, tmp_path, monkeypatch):
    whole = run(model, store, tmp_path / "whole.parquet")
    real, calls = pq.write_table, []

    def write(table, path):
        calls.append(path)
        real(table, path)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ppi_lib.blocks.pq, "write_table", write)
    with pytest.raises(InputError, match="No space left"):
        run(model, store, tmp_path / "s.parquet")
    parts = sorted((tmp_path / "s.parquet.parts").glob("part-*"))
    assert [path.suffix for path in parts] == [".parquet"] * 3
    assert sum(len(pq.read_table(path)) for path in parts) > 0
    monkeypatch.setattr(ppi_lib.blocks.pq, "write_table", real)
    assert run(model, store, tmp_path / "s.parquet").equals(whole)


def interrupted(model, store, out, monkeypatch, **options) -> None:
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ppi_lib.screen, "write_ranked", stop)
    with pytest.raises(KeyboardInterrupt):
        run(model, store, out, **options)
    monkeypatch.undo()


def test_what_another_model_or_other_settings_made_is_refused(tiny, model, store, out, monkeypatch):
    other = create_ppi_classifier(config=tiny, seed=5)
    interrupted(model, store, out, monkeypatch, top_k=3)
    with pytest.raises(InputError, match=r"unfinished screening with another model [0-9a-f]{16} \(now [0-9a-f]{16}\)"):
        run(other, store, out, top_k=3)
    with pytest.raises(InputError, match=r"another top_k 3 \(now 4\)"):
        run(model, store, out, top_k=4)
    run(model, store, out, top_k=3)
    with pytest.raises(InputError, match=r"was written with another model [0-9a-f]{16} \(now [0-9a-f]{16}\)"):
        run(other, store, out, top_k=3)
    with pytest.raises(InputError, match="another precision float32"):
        run(model, store, out, top_k=3, precision="bfloat16")


def test_a_file_that_is_no_screening_is_not_written_over(model, store, out):
    pd.DataFrame({"x": [1]}).to_parquet(out)
    with pytest.raises(InputError, match="not written by a screening"):
        run(model, store, out)
    assert list(pd.read_parquet(out)) == ["x"]
    out.write_text("hello")
    with pytest.raises(InputError, match="not written by a screening"):
        run(model, store, out)
    folder = out.with_name("t.parquet.parts")
    folder.mkdir()
    (folder / "mine.txt").write_text("hello")
    with pytest.raises(InputError, match="holds no screening"):
        run(model, store, out.with_name("t.parquet"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k is 0; expected 1 to 39"),
        ({"top_k": 40}, "top_k is 40; expected 1 to 39"),
        ({"top_k": 3, "threshold": 0.5}, "Pass one of them"),
        ({"threshold": 1.0}, "threshold is 1.0; expected"),
        ({"prevalence": 0.1}, "has no calibration"),
        ({"proteins_a": ["P00", "NOPE"]}, "NOPE"),
        ({"proteins_b": ["NOPE"]}, "NOPE"),
        ({"proteins_a": ["P00", "P00"]}, "proteins_a has 2 proteins, 1 of them different"),
        ({"proteins_a": []}, "proteins_a has 0 proteins"),
        ({"proteins_b": []}, "proteins_b has 0 proteins"),
        ({"proteins_a": ["P00"]}, "P00 alone makes no pair"),
        ({"out": "scores.csv"}, "a screening writes .parquet"),
        ({"out": "nowhere/scores.parquet"}, "does not exist"),
    ],
)
def test_bad_input_is_refused_before_any_work(options, message, model, store, out, monkeypatch):
    monkeypatch.setattr(ppi_lib.screen, "encode_factors", None)
    with pytest.raises(InputError, match=message):
        screen(model, store, **{"out": out, "progress": False, **options})
    assert list(out.parent.iterdir()) == []


def test_a_store_of_another_width_is_refused(model, tmp_path):
    with StoreWriter(tmp_path / "wide", StoreInfo("other", "1", 8)) as writer:
        for protein in "ab":
            writer.add(protein, np.ones((1, 8)), 30, "0")
    store = ppi_lib.store.PatchStore(tmp_path / "wide")
    with pytest.raises(InputError, match=r"8 wide; the model reads 960"):
        screen(model, store, out=tmp_path / "x.parquet", progress=False)


SCRIPT = """
import sys
import torch
from ppi_lib.checkpoint import load_model
from ppi_lib.screen import screen
from ppi_lib.store import PatchStore
torch.set_num_threads(1)
model, _ = load_model(sys.argv[1])
print("ready", flush=True)
screen(model, PatchStore(sys.argv[2]), out=sys.argv[3], top_k=3, precision="float32", band=4, progress=False)
"""


def test_killed_at_random_moments_it_ends_with_the_same_content(model, store, tmp_path):
    whole = run(model, store, tmp_path / "whole.parquet", top_k=3, band=4)
    save_model(model, tmp_path / "model")
    out, generator = tmp_path / "s.parquet", np.random.default_rng(0)
    command = [sys.executable, "-c", SCRIPT, tmp_path / "model", store.path, out]
    killed = 0
    while not out.exists() and killed < 4:
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
        process.stdout.readline()
        try:
            process.wait(timeout=generator.uniform(0, 0.6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
        process.stdout.close()
    assert killed > 0
    assert run(model, store, out, top_k=3, band=4).equals(whole)
    assert not list(tmp_path.glob("s.parquet.parts*"))
