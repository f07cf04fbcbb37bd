"""Figures of what goes in and what is inside: attention, lengths, parameters.

`go.Heatmap` would be a raster inside a PDF, so attention is drawn as rectangles.

Shape letters: H heads, P patches.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from ppi_lib.errors import InputError
from ppi_lib.style import DASHES, PALETTE, TEMPLATE, WHITE_TO_BLUE, require_columns


def _colour_bar(top: float) -> go.Scatter:
    """An invisible trace that carries the colour bar."""
    bar = {
        "title": {"text": "attention", "side": "right"},
        "thickness": 8,
        "outlinewidth": 0,
        "nticks": 5,
        "len": 1.0,
    }
    marker = {
        "cmin": 0,
        "cmax": top,
        "color": [0],
        "colorscale": WHITE_TO_BLUE,
        "showscale": True,
        "colorbar": bar,
    }
    return go.Scatter(x=[None], y=[None], mode="markers", marker=marker, showlegend=False)


def _patch_bars(head: np.ndarray, level: int, patch: int, top: float) -> go.Bar:
    """One head's row of rectangles, a patch wide each."""
    x = patch * np.arange(len(head)) + patch / 2 + 0.5
    colours = sample_colorscale(WHITE_TO_BLUE, list(np.clip(head / top, 0, 1)))
    marker = {"color": colours, "line": {"width": 0}}
    place = {"width": patch, "base": level - 0.46}
    return go.Bar(x=x, y=[0.92] * len(head), marker=marker, customdata=head, showlegend=False, **place)


def plot_attention(weights, patches_a: int, name_a: str, name_b: str, *, patch: int = 32) -> go.Figure:
    """Attention `(H, P_A + P_B)`: a row of rectangles per head over the residues, the mean on top."""
    weights = np.asarray(weights, dtype=float)
    if weights.ndim != 2 or not 0 < patches_a < weights.shape[1]:
        raise InputError(
            f"weights have shape {weights.shape} and patches_a is {patches_a}; expected (heads, patches of "
            "A and B) and at least one patch on both sides. Pass one pair of one layer, without padding."
        )
    heads, total = weights.shape
    widths = [patches_a / total, 1 - patches_a / total]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, column_widths=widths, horizontal_spacing=0.03)
    top = weights.max() or 1.0
    rows = [*weights[::-1], weights.mean(axis=0)]
    levels = [*range(heads), heads + 0.4]
    for level, row in zip(levels, rows, strict=True):
        figure.add_trace(_patch_bars(row[:patches_a], level, patch, top), row=1, col=1)
        figure.add_trace(_patch_bars(row[patches_a:], level, patch, top), row=1, col=2)
    figure.add_trace(_colour_bar(top), row=1, col=1)
    for column, (name, patches) in enumerate(((name_a, patches_a), (name_b, total - patches_a)), start=1):
        title = {"text": f"residue of {name}"}
        axis = {
            "title": title,
            "range": [0.5, patches * patch + 0.5],
            "nticks": max(3, round(patches / total * 12)),
        }
        figure.update_xaxes(**axis, showgrid=False, row=1, col=column)
    labels = [*(str(head) for head in range(heads, 0, -1)), "mean"]
    figure.update_yaxes(tickvals=levels, ticktext=labels, range=[-0.6, heads + 1], showgrid=False)
    figure.update_yaxes(title_text="head", row=1, col=1)
    figure.update_yaxes(showline=False, ticks="", row=1, col=2)
    return figure.update_layout(template=TEMPLATE, width=692, height=90 + 18 * (heads + 1), barmode="overlay", bargap=0)


def plot_lengths(lengths, *, cut: int = 1502, bins: int = 60) -> go.Figure:
    """Histogram of protein lengths on a log axis, with the cut and the share beyond it."""
    groups = lengths if isinstance(lengths, Mapping) else {"proteins": lengths}
    arrays = {name: np.asarray(values, dtype=float) for name, values in groups.items()}
    if not arrays or any(len(values) == 0 or values.min() < 1 for values in arrays.values()):
        raise InputError("lengths hold nothing, or a length below 1; expected residues per protein, 1 or more.")
    everything = np.concatenate(list(arrays.values()))
    edges = np.geomspace(everything.min(), everything.max() * 1.001 + 1, bins + 1)
    figure = go.Figure()
    for index, (name, values) in enumerate(arrays.items()):
        counts = np.histogram(values, edges)[0]
        beyond = f"{name} ({(values > cut).mean():.1%} longer)"
        line = {
            "color": PALETTE[index % len(PALETTE)],
            "dash": DASHES[index % len(DASHES)],
            "width": 1.4,
            "shape": "hv",
        }
        fill = {"fill": "tozeroy", "fillcolor": "rgba(0,114,178,0.18)"} if len(arrays) == 1 else {}
        figure.add_scatter(x=edges, y=np.append(counts, 0), mode="lines", line=line, name=beyond, **fill)
    figure.add_vline(cut, line={"color": "#333333", "width": 1, "dash": "dash"})
    mark = {"showarrow": False, "xanchor": "left", "yanchor": "top", "xshift": 3, "yref": "paper"}
    figure.add_annotation(x=np.log10(cut), y=1, text=f"cut at {cut:,}", **mark)
    ticks = [v for v in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if edges[0] <= v <= edges[-1]]
    axis = {"tickvals": ticks, "ticktext": [f"{tick:,}" for tick in ticks], "title_text": "length (residues)"}
    figure.update_xaxes(type="log", **axis)
    figure.update_yaxes(title_text="proteins", rangemode="tozero")
    legend = {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"}
    return figure.update_layout(template=TEMPLATE, width=460, height=260, showlegend=True, legend=legend)


def plot_parameters(table: pd.DataFrame) -> go.Figure:
    """Bars of `parameters` per `part` on a log axis, in the order given, coloured by `trainable` if there."""
    require_columns(table, "table", ("part", "parameters"))
    if (table["parameters"] < 1).any():
        raise InputError("table.parameters holds a number below 1; expected counts. Leave out empty parts.")
    trainable = table["trainable"].astype(bool) if "trainable" in table else pd.Series(True, index=table.index)
    figure = go.Figure()
    for flag, name, colour in ((True, "trained", PALETTE[1]), (False, "frozen", PALETTE[0])):
        part = table[trainable == flag]
        if len(part):
            text = {
                "text": [f"{count:,}" for count in part["parameters"]],
                "textposition": "outside",
                "cliponaxis": False,
            }
            bar = {
                "x": part["parameters"],
                "y": part["part"],
                "orientation": "h",
                "marker": {"color": colour},
            }
            figure.add_bar(**bar, **text, name=name, width=0.65)
    top = np.log10(table["parameters"].max())
    low = np.floor(np.log10(table["parameters"].min()) - 0.3)
    axis = {"type": "log", "range": [low, top + 0.22 * (top - low)], "dtick": 1, "exponentformat": "power"}
    figure.update_xaxes(title_text="parameters", **axis)
    figure.update_yaxes(categoryorder="array", categoryarray=list(table["part"])[::-1], ticks="", showgrid=False)
    legend = {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    layout = {
        "width": 460,
        "height": 80 + 24 * len(table),
        "showlegend": "trainable" in table,
        "legend": legend,
    }
    return figure.update_layout(template=TEMPLATE, **layout)
