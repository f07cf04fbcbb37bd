"""Figures of how far a score can be trusted: parts of the test, and risk against coverage."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from ppi_lib.errors import InputError
from ppi_lib.style import DASHES, GREY, PALETTE, TEMPLATE, require_columns

if TYPE_CHECKING:
    from ppi_lib.selective import RiskCoverage


def plot_strata(table: pd.DataFrame, *, metric: str = "auroc", whole: float | None = None) -> go.Figure:
    """A dot with its interval for each stratum, in the table's order; a line at `whole`, the value of all pairs."""
    require_columns(table, "strata", ("by", "stratum", "pairs", metric, f"{metric}_low", f"{metric}_high"))
    table = table.iloc[::-1].reset_index(drop=True)
    figure = go.Figure()
    for index, (by, part) in enumerate(table.groupby("by", sort=False)):
        up, down = part[f"{metric}_high"] - part[metric], part[metric] - part[f"{metric}_low"]
        bars = {"type": "data", "array": up, "arrayminus": down, "symmetric": False, "thickness": 1.2, "width": 0}
        marker = {"size": 7, "color": PALETTE[index % len(PALETTE)]}
        figure.add_scatter(x=part[metric], y=part.index, error_x=bars, mode="markers", marker=marker, name=by)
    if whole is not None:
        figure.add_vline(whole, line={"color": GREY, "width": 1, "dash": "dot"})
    names = [f"{row.by}: {row.stratum} ({row.pairs:,})" for row in table.itertuples()]
    figure.update_xaxes(title_text=f"{metric.upper()} on test, with 95% interval; dotted: all pairs")
    figure.update_yaxes(tickvals=list(table.index), ticktext=names, range=[-0.7, len(table) - 0.3])
    return figure.update_layout(template=TEMPLATE, width=560, height=90 + 20 * len(table), showlegend=False)


def plot_risk_coverage(curves: Mapping[str, "RiskCoverage"]) -> go.Figure:
    """Share of wrong calls among the surest pairs, against how many are decided; the area in the legend."""
    if not curves:
        raise InputError("curves is empty; expected at least one name with its curve.")
    figure = go.Figure()
    for index, (name, one) in enumerate(curves.items()):
        line = {"color": PALETTE[index % len(PALETTE)], "dash": DASHES[index % len(DASHES)], "width": 1.6}
        label = f"{name} ({one.area:.3f})"
        figure.add_scatter(x=one.curve["coverage"], y=one.curve["risk"], mode="lines", line=line, name=label)
    figure.update_xaxes(title_text="share of pairs decided", range=[0, 1.005], dtick=0.2)
    figure.update_yaxes(title_text="share of them wrong", rangemode="tozero")
    legend = {"x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"}
    legend["title"] = {"text": "mean over coverages in brackets", "font": {"size": 9}}
    return figure.update_layout(
        template=TEMPLATE, width=336, height=320 + 15 * len(curves), showlegend=True, legend=legend
    )
