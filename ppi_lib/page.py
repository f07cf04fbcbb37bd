"""Everything about a run on one HTML page, which works without a network: for a reviewer, or for oneself in a year.

The page holds Plotly once and each figure's numbers; the same figures lie beside it as PDF, SVG and PNG. What stands on
it comes from the run's folder: the model, its data, its scores, and the audit made here.
"""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ppi_lib.assess import Assessment, is_of, load_assessment, name_model
from ppi_lib.audit import Audit, audit, highest_identities, join_pairs, seen_classes
from ppi_lib.checkpoint import Checkpoint, load_checkpoint
from ppi_lib.datasets import Dataset, load_saved
from ppi_lib.errors import InputError
from ppi_lib.evaluate import bootstrap_difference, compute_curves, describe_difference
from ppi_lib.figures import (
    plot_comparison,
    plot_history,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
    save_figure,
)
from ppi_lib.figures_trust import plot_risk_coverage, plot_strata
from ppi_lib.files import write_atomically
from ppi_lib.report import INTERVALS, comparison
from ppi_lib.resample import FEW
from ppi_lib.selective import RiskCoverage, risk_coverage
from ppi_lib.strata import Strata, assign_strata, evaluate_strata

_MEANINGS = {
    "auroc": "a positive pair ranks above a negative one",
    "auprc": "average precision; chance is the prevalence",
    "auprc_1_10": "the same with one positive in eleven; chance is .091; too high with less than a thousand negatives",
    "precision_at_100": "positives among the 100 pairs ranked first",
    "recall_at_fdr_10": "positives found while at most a tenth of the calls is wrong",
    "accuracy": "calls that are right, at the validation's threshold",
    "f1": "harmonic mean of precision and recall",
    "precision": "calls that are positive",
    "recall": "positives that are called",
    "mcc": "Matthews correlation of calls and labels",
    "pp_mcc": "the same within each protein's pairs, averaged over proteins",
    "brier": "mean squared error of the probability",
    "ece": "expected calibration error in 15 bins",
}
_NAMES = {
    "auprc_1_10": "AUPRC at 1:10",
    "precision_at_100": "precision at 100",
    "recall_at_fdr_10": "recall at 10% FDR",
    "pp_mcc": "pp_MCC",
    **{name: name.upper() for name in ("auroc", "auprc", "f1", "mcc", "ece")},
}
_STYLE = """
body{font:15px/1.5 Arial,"Liberation Sans",sans-serif;color:#222;max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #ddd;padding-bottom:.2rem}
table{border-collapse:collapse;font-size:.85rem;margin:.7rem 0}td,th{padding:.2rem .7rem;text-align:left;
border-bottom:1px solid #e5e5e5;vertical-align:top}th{border-bottom:1px solid #888}
.row{display:flex;flex-wrap:wrap;gap:1rem}
.box{background:#f4f7fa;border-left:4px solid #0072b2;padding:.6rem 1rem}.fault{color:#b33c00;font-weight:bold}
.caution{color:#8a6500;font-weight:bold}.fine{color:#00664b}
pre{font-size:.75rem;overflow-x:auto;background:#f7f7f7;padding:1rem}
.plotly-graph-div{margin:.4rem 0}.wide{overflow-x:auto}
"""
_LIMITS = (
    "An interval says what other proteins drawn like these would give; it knows nothing of other organisms, other "
    "experiments, or other ways of choosing negatives.",
    "Negatives are pairs that nobody has seen interact, not pairs that don't: some are wrong.",
    "A probability is calibrated on the validation pairs. Where positives are rarer, say so (`ppi predict "
    "--prevalence`); where the proteins are of another kind, none of this holds.",
    "The audit sees shared proteins, sequences and degrees. It doesn't see what a pretrained encoder has read.",
)


class Findings(NamedTuple):
    """What the page is made of."""

    checkpoint: Checkpoint
    data: Dataset
    assessment: Assessment
    audit: Audit
    strata: Strata
    risk: dict[str, RiskCoverage]
    verdict: str
    """The model beside the best baseline, in a sentence."""
    history: pd.DataFrame | None


def _cell(value) -> str:
    return escape(f"{value:,}" if isinstance(value, int | np.integer) else str(value))


def _html_table(rows: list[Mapping], classes: str | None = None) -> str:
    """Rows with the same keys as an HTML table; the cells of the column `classes` get their value as class."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    body = []
    for row in rows:
        cells = (f'<td class="{_cell(v)}">' if k == classes else "<td>" for k, v in row.items())
        body.append("".join(f"{cell}{_cell(v)}</td>" for cell, v in zip(cells, row.values(), strict=True)))
    return f'<div class="wide"><table><tr>{head}</tr><tr>{"</tr><tr>".join(body)}</tr></table></div>'


def _interval(row, name: str) -> str:
    """`0.674 [0.658, 0.688]`, or a dash where there is no number."""
    if pd.isna(row[name]):
        return "–"
    # no-break spaces keep it on one line
    return f"{row[name]:.3f}\u00a0[{row[f'{name}_low']:.3f},\u00a0{row[f'{name}_high']:.3f}]"


def gather(run: Path, *, sample: int = 8000, draws: int = 1000) -> Findings:
    """Read a run that was evaluated, audit its splits, and evaluate it on parts of its test."""
    checkpoint, assessment, data = load_checkpoint(run), load_assessment(run), load_saved(run / "data")
    if not is_of(assessment, checkpoint):
        raise InputError(
            f"{run}: its scores are of another model than its checkpoint. Run `ppi evaluate {run} --baselines`."
        )
    found = audit(data.train, data.validation, data.test, data.proteins, sample=sample)
    table, scores = assessment.table, assessment.scores.query("split == 'test'")
    model, labels, ids = table.iloc[0], scores["label"], (scores["protein_a"], scores["protein_b"])
    before = join_pairs(data.train, data.validation)
    nearest = highest_identities(found, before) if sample else None
    parts = assign_strata(data.test, data.proteins.sequences, seen_classes(before, data.test), nearest)
    strata = evaluate_strata(parts, labels, scores[model["name"]], *ids, model["threshold"], draws=draws)
    baselines = table[table["group"] == "baseline"]
    risk = {model["name"]: risk_coverage(labels, scores[model["name"]], model["threshold"])}
    verdict = "No baseline was fitted: `ppi evaluate --baselines` does that."
    if len(baselines):
        best = baselines.loc[baselines["auroc"].idxmax()]
        both = scores[model["name"]], scores[best["name"]]
        difference = bootstrap_difference(labels, *both, *ids, draws=draws)["auroc"]
        verdict = describe_difference(model["name"], f"the best baseline ({best['name']})", difference)
        risk[best["name"]] = risk_coverage(labels, scores[best["name"]], best["threshold"])
    path = run / "history.csv"
    history = pd.read_csv(path) if path.is_file() else None
    return Findings(checkpoint, data, assessment, found, strata, risk, verdict, history)


def draw(found: Findings) -> dict[str, tuple[go.Figure, pd.DataFrame]]:
    """Return the figures by name, with the numbers behind each."""
    table, scores = found.assessment.table, found.assessment.scores.query("split == 'test'")
    names, labels = list(found.risk), scores["label"]
    curves = {name: compute_curves(labels, scores[name]) for name in names}
    model = curves[names[0]]
    own = compute_curves(labels, 1 / (1 + np.exp(-scores["logit"])))
    rows = comparison(table, found.checkpoint.provenance.get("dataset", ""))
    figures = {
        "comparison": (plot_comparison(rows, metric="AUROC on test"), rows),
        "roc": (plot_roc(curves), model.roc),
        "precision_recall": (plot_precision_recall(curves, float(labels.mean())), model.precision_recall),
        "reliability": (plot_reliability({"calibrated": model, "as trained": own}), model.reliability),
        "risk_coverage": (plot_risk_coverage(found.risk), found.risk[names[0]].curve),
    }
    if len(found.strata.table):
        whole = float(table["auroc"].iloc[0])
        figures["strata"] = (plot_strata(found.strata.table, whole=whole), found.strata.table)
    best_epoch = found.checkpoint.provenance.get("best_epoch")
    if found.history is not None and len(found.history):
        figures["history"] = (plot_history(found.history, best_epoch=best_epoch), found.history)
    return figures


def _metrics_section(found: Findings) -> str:
    row = found.assessment.table.iloc[0]
    shown = [
        {"metric": _NAMES.get(n, n), "value [95% interval]": _interval(row, n), "meaning": _MEANINGS[n]}
        for n in INTERVALS
    ]
    positives = round(row["prevalence"] * row["pairs"])
    rarer = min(positives, int(row["pairs"]) - positives)
    few = f" Only {rarer} pairs of one class: the intervals are guesses." if rarer < FEW else ""
    about = (
        f"{int(row['pairs']):,} test pairs, {row['prevalence']:.1%} positive; threshold {row['threshold']:.3f}.{few}"
    )
    return f"<p>{about} Intervals draw proteins, not pairs.</p>{_html_table(shown)}"


def _comparison_section(table: pd.DataFrame) -> str:
    shown = ("auroc", "auprc", "auprc_1_10", "mcc", "pp_mcc", "ece")
    rows = table.sort_values("auroc", ascending=False).to_dict("records")
    return _html_table(
        [{"predictor": r["name"], "group": r["group"], **{_NAMES[n]: _interval(r, n) for n in shown}} for r in rows]
    )


def _calibration_section(found: Findings) -> str:
    calibration, scores = found.checkpoint.calibration, found.assessment.scores.query("split == 'test'")
    if calibration.method == "none":
        return "<p>The checkpoint has no calibration: probabilities are the sigmoid of the logits.</p>"
    before = compute_curves(scores["label"], 1 / (1 + np.exp(-scores["logit"]))).reliability
    gap = (before["mean_probability"] - before["positive_share"]).abs() * before["pairs"]
    row = found.assessment.table.iloc[0]
    logits = np.quantile(scores["logit"], [0.5, 0.9, 0.99])
    rows = []
    for name, prevalence in {"as in validation": None, "1 in 11": 1 / 11, "1 in 1,001": 1 / 1001}.items():
        values = calibration.probabilities(logits, prevalence=prevalence)
        columns = {f"pair ranked at {q}": f"{v:.4f}" for q, v in zip(("50%", "10%", "1%"), values, strict=True)}
        rows.append({"positives among your pairs": name, **columns})
    said = (
        f"{calibration.method.capitalize()}, fitted on {calibration.pairs:,} validation pairs. ECE on test "
        f"{np.nansum(gap) / len(scores):.3f} as trained, {_interval(row, 'ece')} calibrated."
    )
    return f"<p>{escape(said)} What the same pairs' probability is where positives are rarer:</p>{_html_table(rows)}"


def _strata_section(strata: Strata) -> str:
    rows = [
        {
            "by": row["by"],
            "stratum": row["stratum"],
            "pairs": row["pairs"],
            "positives": row["positives"],
            **{_NAMES[name]: _interval(row, name) for name in ("auroc", "auprc", "mcc", "pp_mcc")},
        }
        for row in strata.table.to_dict("records")
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in strata.notes)
    return (_html_table(rows) if rows else "") + (f"<ul>{notes}</ul>" if notes else "")


def _provenance_section(found: Findings) -> str:
    about = {"provenance": found.checkpoint.provenance, "embedding": found.checkpoint.embedding._asdict()}
    about["model"] = vars(found.checkpoint.model.config)
    sizes = {name: len(getattr(found.data, name)) for name in ("train", "validation", "test")}
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.data.notes)
    said = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
    dump = escape(json.dumps(about, indent=2, default=str))
    return f"<p>{said} pairs of {len(found.data.proteins.sequences):,} proteins.</p><ul>{notes}</ul><pre>{dump}</pre>"


def compose(found: Findings, figures: Mapping[str, go.Figure]) -> str:
    """Return the page."""
    divs = {
        name: figure.to_html(full_html=False, include_plotlyjs=index == 0, config={"displaylogo": False})
        for index, (name, figure) in enumerate(figures.items())
    }
    row, name = found.assessment.table.iloc[0], name_model(found.checkpoint)
    faults = sum(one.level == "fault" for one in found.audit.findings)
    box = (
        f"<b>AUROC {_interval(row, 'auroc')}</b> on {int(row['pairs']):,} test pairs. {escape(found.verdict)} "
        f"The audit found {faults or 'no'} fault{'s' * (faults != 1)} in the splits"
        f"{'' if 'neighbours' in found.audit.tables else '; near neighbours were not searched'}."
    )

    def side(*wanted: str) -> str:
        return f'<div class="row">{"".join(divs.get(one, "") for one in wanted)}</div>'

    findings = _html_table([one._asdict() for one in found.audit.findings], classes="level")
    limits = "".join(f"<li>{escape(text)}</li>" for text in _LIMITS)
    dataset = escape(str(found.checkpoint.provenance.get("dataset", "own data")))
    sections = {
        "Beside what is simple": side("comparison") + _comparison_section(found.assessment.table),
        "Test": _metrics_section(found) + side("roc", "precision_recall"),
        "Audit of the splits": findings,
        "Calibration": side("reliability") + _calibration_section(found),
        "Parts of the test": side("strata") + _strata_section(found.strata),
        "Leaving pairs undecided": side("risk_coverage"),
        "Training": side("history"),
        "Provenance": _provenance_section(found),
        "Limits": f"<ul>{limits}</ul>",
    }
    body = "".join(f"<h2>{title}</h2>{content}" for title, content in sections.items())
    head = f'<meta charset="utf-8"><title>{name} on {dataset}</title><style>{_STYLE}</style>'
    top = f'<h1>{name} on {dataset}</h1><p class="box">{box}</p>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{top}{body}</body></html>'


def write_page(run: str | Path, *, sample: int = 8000, draws: int = 1000) -> Path:
    """Write `report.html` to the folder of a run that was evaluated, and its figures to `figures`; return the page."""
    run = Path(run)
    found = gather(run, sample=sample, draws=draws)
    figures = draw(found)
    for name, (figure, numbers) in figures.items():
        wide = name in ("comparison", "strata", "history")
        save_figure(figure, run / "figures" / name, data=numbers, width_mm=183 if wide else 89)
    page = compose(found, {name: figure for name, (figure, _) in figures.items()})
    write_atomically(run / "report.html", lambda path: path.write_text(page, encoding="utf-8"))
    return run / "report.html"
