"""The figures of the explorers: masks of a batch of two, a threshold on its curves, the partners of a protein."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ppi_lib.errors import InputError
from ppi_lib.style import GREY, PALETTE, TEMPLATE, require_columns
from ppi_lib.thresholds import CELLS, at_threshold, costs

_POINTS = 500
_LINE = {"color": PALETTE[0], "width": 1.6}
_HERE = {"color": PALETTE[1], "size": 10, "line": {"color": "white", "width": 1}}
_NAMES = dict(zip(CELLS, ("found", "false alarm", "missed", "rightly left out"), strict=True))


def plot_masks(lengths: Mapping[str, int], *, patch: int = 32, cut: int = 1502) -> go.Figure:
    """A batch's proteins as rows of patches: real ones, the last one less full, padding, and what is cut off."""
    if not lengths or min(lengths.values()) < 1:
        raise InputError(f"lengths are {dict(lengths)}; expected at least one protein of 1 residue or more.")
    kept = {name: min(length, cut) for name, length in lengths.items()}
    width = patch * -(-max(kept.values()) // patch)
    figure = go.Figure()
    kinds = {
        "real: mask True": (PALETTE[0], [(name, 0, length) for name, length in kept.items()]),
        "padding: mask False": ("#E3E3E3", [(name, patch * -(-k // patch), width) for name, k in kept.items()]),
        "empty part of the last patch": ("#A9CFE6", [(name, k, patch * -(-k // patch)) for name, k in kept.items()]),
        f"cut off, past {cut:,}": (PALETTE[1], [(n, max(width, kept[n]), length) for n, length in lengths.items()]),
    }
    for label, (colour, spans) in kinds.items():
        tiles = [(name, at, min(at + patch, stop)) for name, start, stop in spans for at in range(start, stop, patch)]
        if tiles:
            names, starts, stops = zip(*tiles, strict=True)
            figure.add_bar(
                y=names,
                base=starts,
                x=np.subtract(stops, starts),
                orientation="h",
                marker={"color": colour, "line": {"color": "white", "width": 0.8}},
                name=label,
                hovertext=[f"residues {start + 1}-{stop}" for start, stop in zip(starts, stops, strict=True)],
                hoverinfo="text",
            )
    figure.update_xaxes(title_text=f"residue; a rectangle is a patch of {patch}", showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", showline=False)
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
    layout = {"width": 692, "height": 110 + 34 * len(lengths), "barmode": "overlay", "bargap": 0.3}
    return figure.update_layout(template=TEMPLATE, legend=legend, **layout)


def plot_threshold(
    table: pd.DataFrame, threshold: float, *, false_positive: float = 1.0, false_negative: float = 1.0
) -> go.Figure:
    """One threshold on the ROC, precision-recall and cost curves, and its confusion table.

    `table` is that of `thresholds.sweep_thresholds`; the costs are those of one error of each kind. The ring on the
    cost curve is the cheapest threshold for these pairs.
    """
    require_columns(table, "table", ("threshold", *CELLS, "precision", "recall"))
    here = at_threshold(table, threshold)
    price = costs(table, false_positive, false_negative)
    negatives = table["false_positive"].iloc[-1]
    figure = make_subplots(rows=2, cols=2, horizontal_spacing=0.13, vertical_spacing=0.2)
    shown = np.unique(np.linspace(0, len(table) - 1, _POINTS).astype(int))
    curves = (
        (1, 1, table["false_positive"] / negatives, table["recall"], here.false_positive / negatives, here.recall),
        (1, 2, table["recall"], table["precision"], here.recall, here.precision),
        (2, 1, table["threshold"].clip(upper=1), price, threshold, price[here.name]),
    )
    for row, column, x, y, x_here, y_here in curves:
        line = {"mode": "lines", "line": _LINE, "hoverinfo": "x+y"}
        figure.add_scatter(x=x.iloc[shown], y=y.iloc[shown], **line, row=row, col=column)
        figure.add_scatter(x=[x_here], y=[y_here], mode="markers", marker=_HERE, row=row, col=column)
    best = price.idxmin()
    ring = {"symbol": "circle-open", "size": 13, "color": GREY, "line": {"width": 1.5}}
    x = [min(table["threshold"][best], 1)]
    figure.add_scatter(x=x, y=[price[best]], mode="markers", marker=ring, row=2, col=1)
    _draw_cells(figure, here)
    titles = (
        ("false positive rate", "true positive rate"),
        ("recall", "precision"),
        ("threshold", "cost of 100 pairs"),
    )
    for (row, column), (x_title, y_title) in zip(((1, 1), (1, 2), (2, 1)), titles, strict=True):
        figure.update_xaxes(title_text=x_title, range=[-0.01, 1.02], dtick=0.2, row=row, col=column)
        figure.update_yaxes(title_text=y_title, rangemode="tozero", row=row, col=column)
    figure.update_yaxes(range=[0, 1.03], dtick=0.2, row=1)
    return figure.update_layout(template=TEMPLATE, width=692, height=500, showlegend=False)


def _draw_cells(figure: go.Figure, here: pd.Series) -> None:
    """The four cells of the confusion table as tiles, the deeper the larger their share of the class."""
    total = {True: here.true_positive + here.false_negative, False: here.false_positive + here.true_negative}
    places = {"true_positive": (0, 1), "false_negative": (1, 1), "false_positive": (0, 0), "true_negative": (1, 0)}
    for cell, (x, y) in places.items():
        share = here[cell] / total[y == 1]
        right = cell.startswith("true")
        colour = f"rgba({'0,114,178' if right else '213,94,0'},{0.12 + 0.5 * share:.2f})"
        box = {"x0": x - 0.48, "x1": x + 0.48, "y0": y - 0.46, "y1": y + 0.46, "line": {"width": 0}}
        figure.add_shape(type="rect", fillcolor=colour, **box, row=2, col=2)
        text = f"<b>{int(here[cell]):,}</b><br>{_NAMES[cell]} ({share:.0%})"
        figure.add_annotation(x=x, y=y, text=text, showarrow=False, row=2, col=2)
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="markers", marker={"opacity": 0}, hoverinfo="skip", row=2, col=2)
    axis = {"range": [-0.5, 1.5], "showgrid": False, "showline": False, "ticks": "", "tickvals": [0, 1]}
    figure.update_xaxes(**axis, ticktext=["called", "not called"], row=2, col=2)
    figure.update_yaxes(**axis, ticktext=["do not<br>interact", "interact"], row=2, col=2)


def plot_partners(table: pd.DataFrame, protein: str) -> go.Figure:
    """The logits of a protein's partners, the best on top; those known to interact are filled.

    `table` is that of `ranking.partners_of`, with `interacts`.
    """
    require_columns(table, "table", ("partner", "logit", "interacts"))
    table = table.sort_values("logit").reset_index(drop=True)
    figure = go.Figure()
    for interacts, name in ((True, "known to interact"), (False, "not known to")):
        part = table[table["interacts"] == interacts]
        colour = PALETTE[1] if interacts else PALETTE[0]
        marker = {"color": colour, "size": 8, "symbol": "circle" if interacts else "circle-open"}
        figure.add_scatter(x=part["logit"], y=part.index, mode="markers", marker=marker, name=name)
    figure.update_xaxes(title_text=f"logit with {protein}")
    figure.update_yaxes(tickvals=list(table.index), ticktext=list(table["partner"]), range=[-0.7, len(table) - 0.3])
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    height = 100 + 17 * len(table)
    return figure.update_layout(template=TEMPLATE, width=460, height=height, legend=legend, showlegend=True)
