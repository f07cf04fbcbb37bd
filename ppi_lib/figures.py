"""Figures for the paper: data in, a Plotly figure out; nothing here shows or saves but `save_figure`.

Here are the figures of results; those of the data, of the model and of attributions are in `figures_data`,
`figures_inside` and `figures_attribution`, and all can be imported from here. Lines differ in dash as well as in
colour.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ppi_lib.errors import InputError
from ppi_lib.figures_attribution import (
    plot_attention_against,
    plot_removal,
    plot_tracks,
    plot_weight_attribution,
)
from ppi_lib.figures_data import plot_composition, plot_patches, plot_storage
from ppi_lib.figures_inside import (
    plot_attention,
    plot_lengths,
    plot_parameters,
    plot_rebuilt,
    plot_reconstruction,
    plot_transfer,
)
from ppi_lib.style import DASHES, GREY, PALETTE, TEMPLATE, require_columns, save_figure

__all__ = [
    "plot_attention",
    "plot_attention_against",
    "plot_comparison",
    "plot_composition",
    "plot_history",
    "plot_lengths",
    "plot_parameters",
    "plot_patches",
    "plot_precision_recall",
    "plot_rebuilt",
    "plot_reconstruction",
    "plot_reliability",
    "plot_removal",
    "plot_roc",
    "plot_storage",
    "plot_tracks",
    "plot_transfer",
    "plot_weight_attribution",
    "save_figure",
]

if TYPE_CHECKING:
    from ppi_lib.evaluate import Curves

GROUP_COLOURS = {"ours": "#D55E00", "baseline": "#0072B2", "published": "#666666"}
_ABOVE = {"x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"}
# panel, column, label, style of each line
_HISTORY = (
    (1, "train_loss", "train", 0),
    (1, "validation_loss", "validation", 1),
    (2, "validation_auroc", "AUROC", 0),
    (2, "validation_auprc", "AUPRC", 1),
    (3, "learning_rate", "learning rate", 0),
)


def _require_curves(curves: Mapping[str, "Curves"]) -> None:
    if not curves:
        raise InputError("curves is empty; expected at least one name with its curves.")


def _style(index: int) -> dict:
    """Colour and dash of the index-th line."""
    return {"color": PALETTE[index % len(PALETTE)], "dash": DASHES[index % len(DASHES)], "width": 1.6}


def _mark_best(figure: go.Figure, history: pd.DataFrame, best: int) -> None:
    """Draw a line at the epoch whose weights are kept."""
    figure.add_vline(best, line={"color": GREY, "width": 0.8, "dash": "dot"}, row=1, col=2)
    side = "right" if best > history["epoch"].median() else "left"
    mark = {"showarrow": False, "xanchor": side, "yanchor": "bottom", "yref": "y2 domain", "xref": "x2"}
    figure.add_annotation(x=best, y=0, text=f"best: epoch {best}", **mark)


def plot_history(history: pd.DataFrame, *, best_epoch: int | None = None) -> go.Figure:
    """Losses, AUROC with AUPRC, and learning rate over epochs, side by side; the best epoch is marked."""
    require_columns(history, "history", ("epoch", *(name for _, name, _, _ in _HISTORY)))
    figure = make_subplots(rows=1, cols=3, horizontal_spacing=0.11)
    mode = "lines+markers" if len(history) < 30 else "lines"
    for column, name, label, style in _HISTORY:
        show = {"legend": f"legend{column}" if column > 1 else "legend", "showlegend": column < 3}
        line = {"mode": mode, "line": _style(style), "marker": {"size": 4}}
        figure.add_trace(go.Scatter(x=history["epoch"], y=history[name], name=label, **line, **show), 1, column)
    if best_epoch:
        _mark_best(figure, history, best_epoch)
    figure.update_xaxes(title_text="epoch", rangemode="tozero", nticks=6)
    for column, title in enumerate(("binary cross-entropy (nats)", "validation score", "learning rate")):
        figure.update_yaxes(title_text=title, exponentformat="e", nticks=6, row=1, col=column + 1)
    place = {"orientation": "h", "xanchor": "left", "yanchor": "bottom", "y": 1.02}
    figure.update_layout(template=TEMPLATE, width=692, height=230)
    return figure.update_layout(legend={**place, "x": 0}, legend2={**place, "x": 0.37})


def _square(figure: go.Figure, x_title: str, y_title: str, legend_title: str) -> go.Figure:
    """Both axes from 0 to 1 at the same scale, the legend above."""
    figure.update_xaxes(title_text=x_title, range=[0, 1.005], dtick=0.2, constrain="domain")
    figure.update_yaxes(title_text=y_title, range=[0, 1.005], dtick=0.2, scaleanchor="x", constrain="domain")
    legend = {**_ABOVE, "title": {"text": legend_title, "font": {"size": 9}}}
    height = 350 + 15 * len(figure.data)
    return figure.update_layout(template=TEMPLATE, width=336, height=height, legend=legend)


def _dashed(x: list[float], y: list[float], name: str) -> go.Scatter:
    """The grey line of chance or of perfect calibration."""
    line = {"color": GREY, "width": 1, "dash": "2px,2px"}
    return go.Scatter(x=x, y=y, mode="lines", line=line, name=name, hoverinfo="skip")


def plot_roc(curves: Mapping[str, "Curves"]) -> go.Figure:
    """One ROC curve a name, with its AUROC in the legend."""
    _require_curves(curves)
    figure = go.Figure()
    for index, (name, curve) in enumerate(curves.items()):
        x, y = curve.roc["false_positive_rate"], curve.roc["true_positive_rate"]
        figure.add_scatter(x=x, y=y, mode="lines", line=_style(index), name=f"{name} ({curve.auroc:.3f})")
    figure.add_trace(_dashed([0, 1], [0, 1], "chance (0.500)"))
    return _square(figure, "false positive rate", "true positive rate", "AUROC in brackets")


def plot_precision_recall(curves: Mapping[str, "Curves"], prevalence: float) -> go.Figure:
    """One precision-recall curve a name, with its AUPRC in the legend; chance is the prevalence."""
    _require_curves(curves)
    if not 0 < prevalence < 1:
        raise InputError(f"prevalence is {prevalence}; expected the share of positive pairs, between 0 and 1.")
    figure = go.Figure()
    for index, (name, curve) in enumerate(curves.items()):
        x, y = curve.precision_recall["recall"], curve.precision_recall["precision"]
        figure.add_scatter(x=x, y=y, mode="lines", line=_style(index), name=f"{name} ({curve.auprc:.3f})")
    figure.add_trace(_dashed([0, 1], [prevalence, prevalence], f"chance ({prevalence:.3f})"))
    return _square(figure, "recall", "precision", "AUPRC in brackets")


def plot_reliability(curves: Mapping[str, "Curves"]) -> go.Figure:
    """Share of positives against predicted probability, and below it how many pairs each bin holds."""
    _require_curves(curves)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.05)
    figure.add_trace(_dashed([0, 1], [0, 1], "perfect"), row=1, col=1)
    for index, (name, curve) in enumerate(curves.items()):
        table, style = curve.reliability, _style(index)
        filled = table[table["pairs"] > 0]
        x, y = filled["mean_probability"], filled["positive_share"]
        line = go.Scatter(x=x, y=y, mode="lines+markers", line=style, marker={"size": 4}, name=name)
        figure.add_trace(line, row=1, col=1)
        edges = np.append(table["bin_low"], table["bin_high"].iloc[-1])
        steps = np.append(table["pairs"], table["pairs"].iloc[-1])
        line = go.Scatter(x=edges, y=steps, mode="lines", line={**style, "shape": "hv"}, showlegend=False)
        figure.add_trace(line, row=2, col=1)
    figure.update_xaxes(range=[0, 1], dtick=0.2)
    figure.update_xaxes(title_text="predicted probability", row=2, col=1)
    figure.update_yaxes(title_text="share of positives", range=[0, 1.005], dtick=0.2, row=1, col=1)
    figure.update_yaxes(title_text="pairs", rangemode="tozero", nticks=4, row=2, col=1)
    height = 380 + 15 * (len(curves) + 1)
    return figure.update_layout(template=TEMPLATE, width=336, height=height, legend=_ABOVE)


def _dots(part: pd.DataFrame, group: str) -> go.Scatter:
    """One group's values with their intervals."""
    up, down = (part["high"] - part["value"]).fillna(0), (part["value"] - part["low"]).fillna(0)
    bars = {"type": "data", "array": up, "arrayminus": down, "symmetric": False, "thickness": 1.2, "width": 0}
    symbol = "circle-open" if group == "published" else "circle"
    marker = {"color": GROUP_COLOURS[group], "size": 7, "symbol": symbol}
    return go.Scatter(x=part["value"], y=part.index, error_x=bars, mode="markers", marker=marker, name=group)


def plot_comparison(rows: pd.DataFrame, *, metric: str = "AUROC") -> go.Figure:
    """Dots with intervals, the best on top; `low` and `high` may be NaN, as published values often are."""
    require_columns(rows, "rows", ("name", "value", "low", "high", "group"))
    unknown = set(rows["group"]) - set(GROUP_COLOURS)
    if unknown:
        raise InputError(f"rows.group holds {sorted(unknown)}; expected {', '.join(GROUP_COLOURS)}.")
    rows = rows.sort_values("value").reset_index(drop=True)
    figure = go.Figure([_dots(part, group) for group, part in rows.groupby("group", sort=False)])
    right, left = rows["high"].fillna(rows["value"]), rows["low"].fillna(rows["value"]).min()
    for row in rows.assign(right=right).itertuples():
        style = {
            "showarrow": False,
            "xanchor": "left",
            "xshift": 6,
            "font": {"color": GROUP_COLOURS[row.group]},
        }
        figure.add_annotation(x=row.right, y=row.Index, text=f"{row.value:.3f}", **style)
    spread = max(right.max() - left, 1e-3)
    figure.update_xaxes(title_text=metric, range=[left - 0.06 * spread, right.max() + 0.14 * spread])
    figure.update_yaxes(tickvals=list(rows.index), ticktext=list(rows["name"]), range=[-0.7, len(rows) - 0.3])
    legend, height = {"orientation": "h", **_ABOVE}, 90 + 18 * len(rows)
    return figure.update_layout(template=TEMPLATE, width=460, height=height, legend=legend)
