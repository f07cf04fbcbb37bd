"""The page of a run: what is on it is what was found, and what a user wrote is text, not markup."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import TINY

from ppi_lib.assess import Assessment, has_baselines, load_assessment
from ppi_lib.audit import audit
from ppi_lib.calibrate import fit_calibration
from ppi_lib.checkpoint import Checkpoint, create_ppi_classifier, save_checkpoint
from ppi_lib.datasets import make_demo, save_dataset
from ppi_lib.errors import InputError
from ppi_lib.page import compose, draw, gather
from ppi_lib.report import Scored, evaluate_scored
from ppi_lib.store import StoreInfo


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder as training and evaluation leave it, of scores that follow the labels."""
    folder = tmp_path_factory.mktemp("run")
    data = make_demo(proteins=160, pairs=(200, 60, 80), shares=(0.5, 0.25, 0.25), domain=30, median_length=80)
    save_dataset(data, folder / "data")
    rng = np.random.default_rng(0)
    labels = np.concatenate([data.validation.labels, data.test.labels])
    logits = 2 * labels - 1 + rng.normal(0, 1, 140)
    calibration = fit_calibration(labels[:60], logits[:60])
    model, noise = calibration.probabilities(logits), rng.random(140)
    scored = [
        Scored("v3 cross-attention", "ours", model[60:], model[:60]),
        Scored("noise <b>", "baseline", noise[60:], noise[:60]),
    ]
    evaluate_scored(scored, data.validation, data.test, draws=20).to_csv(folder / "evaluation.csv", index=False)
    columns = {"split": ["validation"] * 60 + ["test"] * 80, "label": labels, "logit": logits}
    for side in "ab":
        columns[f"protein_{side}"] = np.concatenate([getattr(pairs, side) for pairs in (data.validation, data.test)])
    pd.DataFrame({**columns, "v3 cross-attention": model, "noise <b>": noise}).to_parquet(folder / "scores.parquet")
    network = create_ppi_classifier(config=TINY)
    provenance = {"size": "v3", "dataset": "<script>alert(1)</script>"}
    save_checkpoint(Checkpoint(network, StoreInfo("profile", "2", 960), 0.5, provenance, calibration), folder)
    return folder


@pytest.fixture(scope="module")
def found(run):
    return gather(run, draws=20)


def test_it_gathers_what_the_parts_say(run, found):
    assert isinstance(found.assessment, Assessment)
    assert found.verdict.startswith("v3 cross-attention is better than the best baseline (noise <b>)")
    assert list(found.risk) == ["v3 cross-attention", "noise <b>"]
    data = found.data
    again = audit(data.train, data.validation, data.test, data.proteins)
    assert found.audit.findings == again.findings
    assert set(found.strata.table["by"]) <= {"class", "hubs", "length", "identity"}
    assert found.strata.table.query("by == 'class'")["pairs"].tolist() == [80]


def test_the_page_holds_the_numbers_and_escapes_what_users_wrote(found):
    page = compose(found, {})
    row = found.assessment.table.iloc[0]
    assert f"{row['auroc']:.3f}\u00a0[{row['auroc_low']:.3f},\u00a0{row['auroc_high']:.3f}]" in page
    assert "noise &lt;b&gt;" in page
    assert "<script>alert" not in page
    assert all(one.level in page for one in found.audit.findings)
    assert "1 in 1,001" in page


def test_plotly_is_there_once_and_every_figure_has_its_numbers(found):
    figures = draw(found)
    assert {"comparison", "roc", "precision_recall", "reliability", "risk_coverage", "strata"} <= set(figures)
    page = compose(found, {name: figure for name, (figure, _) in figures.items()})
    assert page.count("plotly.js v") == 1
    assert page.count('class="plotly-graph-div"') == len(figures)
    assert 4e6 < len(page) < 8e6
    assert all(len(numbers) for _, numbers in figures.values())


def test_the_learning_curves_mark_the_epoch_whose_weights_are_kept(found):
    rows = [(epoch, 0.6, 0.7, 0.8, 0.7 + epoch / 10, 1e-3) for epoch in (1, 2, 3)]
    names = ("epoch", "train_loss", "validation_loss", "validation_auroc", "validation_auprc", "learning_rate")
    checkpoint = found.checkpoint._replace(provenance={**found.checkpoint.provenance, "best_epoch": 2})
    figure, _ = draw(found._replace(checkpoint=checkpoint, history=pd.DataFrame(rows, columns=names)))["history"]
    assert [one.text for one in figure.layout.annotations] == ["best: epoch 2"]


def test_scores_of_a_model_that_was_there_before_are_refused(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    assert has_baselines(copy)
    scores = pd.read_parquet(copy / "scores.parquet")
    scores["v3 cross-attention"] = scores["v3 cross-attention"] ** 2
    scores.to_parquet(copy / "scores.parquet")
    assert not has_baselines(copy)
    with pytest.raises(InputError, match="its scores are of another model"):
        gather(copy, draws=20)


def test_a_run_that_was_not_evaluated_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"evaluation.csv: there is no such file. Make it with `ppi evaluate"):
        load_assessment(tmp_path)
