"""Figures of what goes in and what is inside: attention, lengths, parameters, pretraining.

`go.Heatmap` would be a raster inside a PDF, so attention and patches are drawn as rectangles.

Shape letters: H heads, P patches.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from ppi_lib.errors import InputError
from ppi_lib.style import DASHES, GREY, PALETTE, TEMPLATE, WHITE_TO_BLUE, require_columns

BLUE_TO_RED = [[0, "#0072B2"], [0.5, "#F7F7F7"], [1, "#D55E00"]]
_ABOVE = {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"}
# column, label, marker of each error
_ERRORS = (
    ("global_mean", "global mean", {"color": "#666666", "symbol": "diamond-open", "size": 8}),
    (
        "visible_mean",
        "visible mean",
        {"color": PALETTE[0], "symbol": "square-open", "size": 8},
    ),
    ("model", "model", {"color": PALETTE[1], "symbol": "circle", "size": 8}),
)


def colour_bar(title: str, low: float, top: float, scale: list) -> go.Scatter:
    """An invisible trace that carries the colour bar."""
    bar = {
        "title": {"text": title, "side": "right"},
        "thickness": 8,
        "outlinewidth": 0,
        "nticks": 5,
        "len": 1.0,
    }
    marker = {
        "cmin": low,
        "cmax": top,
        "color": [0],
        "colorscale": scale,
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
    figure.add_trace(colour_bar("attention", 0, top, WHITE_TO_BLUE), row=1, col=1)
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
    return figure.update_layout(template=TEMPLATE, width=460, height=260, showlegend=True, legend=_ABOVE)


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
    axis = {"type": "log", "range": [low, top + 0.22 * (top - low)], "dtick": 1, "exponentformat": "SI"}
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


def plot_reconstruction(table: pd.DataFrame) -> go.Figure:
    """Errors of `rebuild.reconstruction_table`: a row per group of channels, the model beside the trivial answers."""
    require_columns(table, "table", ("group", "weight", *(column for column, _, _ in _ERRORS)))
    levels = list(range(len(table)))[::-1]
    errors = table[[column for column, _, _ in _ERRORS]]
    figure = go.Figure()
    for level, low, high in zip(levels, errors.min(axis=1), errors.max(axis=1), strict=True):
        figure.add_shape(
            type="line", x0=low, x1=high, y0=level, y1=level, line={"color": "#CCCCCC", "width": 1}, layer="below"
        )
    for column, name, marker in _ERRORS:
        figure.add_scatter(x=table[column], y=levels, mode="markers", marker=marker, name=name)
    labels = [f"{row.group} ({row.weight:.0%})" for row in table.itertuples()]
    figure.update_xaxes(
        title_text="mean squared error (squared deviations)", range=[-0.04, errors.max(axis=None) * 1.06]
    )
    figure.update_yaxes(tickvals=levels, ticktext=labels, range=[-0.6, len(table) - 0.4], showgrid=False)
    figure.update_yaxes(title_text="channels (share of the loss)")
    legend = {**_ABOVE, "traceorder": "reversed"}  # the model first, though drawn last
    return figure.update_layout(template=TEMPLATE, width=460, height=90 + 24 * len(table), legend=legend)


def patch_tiles(part: pd.DataFrame, column: str, level: int, patch: int, top: float) -> go.Bar:
    """One channel's row of rectangles, a patch wide each; grey where `column` is NaN."""
    shown = part[column].to_numpy()
    shares = np.nan_to_num(np.clip((shown / top + 1) / 2, 0, 1))
    colours = np.where(np.isnan(shown), "#CCCCCC", sample_colorscale(BLUE_TO_RED, list(shares)))
    x = patch * (part["patch"] - 1) + patch / 2 + 0.5
    marker = {"color": list(colours), "line": {"width": 0}}
    place = {"width": patch, "base": level - 0.46, "showlegend": False}
    return go.Bar(x=x, y=[0.92] * len(part), marker=marker, customdata=shown, **place)


def plot_rebuilt(table: pd.DataFrame, name: str, *, patch: int = 32) -> go.Figure:
    """One protein's patches: as they are, as the encoder saw them, and the hidden ones as they were rebuilt.

    `table` has a row per channel and patch: `channel`, `patch` (from 1), `masked` (True = hidden), `target` and
    `rebuilt`, both in deviations from the mean.
    """
    require_columns(table, "table", ("channel", "patch", "masked", "target", "rebuilt"))
    masked = table["masked"].astype(bool)
    table = table.assign(seen=table["target"].mask(masked))
    top = table["target"].abs().max() or 1.0
    panels = {"target": table, "seen": table, "rebuilt": table[masked]}
    titles = ("as they are", "as the encoder saw them (grey: hidden)", "the hidden ones as rebuilt from the others")
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.09, subplot_titles=titles)
    channels = list(dict.fromkeys(table["channel"]))[::-1]
    for row, (column, shown) in enumerate(panels.items(), start=1):
        for level, channel in enumerate(channels):
            tiles = patch_tiles(shown[shown["channel"] == channel], column, level, patch, top)
            figure.add_trace(tiles, row=row, col=1)
    figure.add_trace(colour_bar("deviations from the mean", -top, top, BLUE_TO_RED), row=1, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 10})
    figure.update_xaxes(range=[0.5, table["patch"].max() * patch + 0.5], showgrid=False, nticks=12)
    figure.update_xaxes(title_text=f"residue of {name}", row=3, col=1)
    labels = {"tickvals": list(range(len(channels))), "ticktext": channels, "ticks": ""}
    figure.update_yaxes(**labels, range=[-0.6, len(channels) - 0.4], showgrid=False)
    height = 130 + 3 * 13 * len(channels)
    return figure.update_layout(template=TEMPLATE, width=692, height=height, margin_t=24, barmode="overlay", bargap=0)


def plot_transfer(rows: pd.DataFrame, *, metric: str = "AUROC") -> go.Figure:
    """Ways to use an encoder, in the order given: dots with intervals, and beside them the seconds of each."""
    require_columns(rows, "rows", ("name", "value", "low", "high", "seconds"))
    if not (rows["seconds"] > 0).all():
        raise InputError(f"rows.seconds holds {rows['seconds'].min()}; expected the seconds of a training, above 0.")
    levels = list(range(len(rows)))[::-1]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, column_widths=[0.6, 0.4], horizontal_spacing=0.05)
    up, down = rows["high"] - rows["value"], rows["value"] - rows["low"]
    bars = {"type": "data", "array": up, "arrayminus": down, "symmetric": False, "thickness": 1.2, "width": 0}
    dots = {"mode": "markers", "marker": {"color": PALETTE[1], "size": 7}, "showlegend": False}
    figure.add_scatter(x=rows["value"], y=levels, error_x=bars, **dots, row=1, col=1)
    dots |= {"mode": "markers+text", "textposition": "middle right"}
    dots["marker"] = {"color": PALETTE[0], "size": 7, "symbol": "square"}
    seconds = [f" {value:.3g} s" for value in rows["seconds"]]
    figure.add_scatter(x=rows["seconds"], y=levels, text=seconds, cliponaxis=False, **dots, row=1, col=2)
    beside = {"showarrow": False, "xanchor": "left", "xshift": 6, "font": {"color": PALETTE[1]}, "xref": "x"}
    for level, row in zip(levels, rows.itertuples(), strict=True):
        figure.add_annotation(x=row.high, y=level, text=f"{row.value:.3f}", **beside)
    spread = max(rows["high"].max() - rows["low"].min(), 1e-3)
    reach = [rows["low"].min() - 0.06 * spread, rows["high"].max() + 0.18 * spread]
    if reach[0] < 0.5 < reach[1]:
        figure.add_vline(0.5, line={"color": GREY, "width": 1, "dash": "2px,2px"}, row=1, col=1)
    figure.update_xaxes(title_text=metric, range=reach, row=1, col=1)
    low, high = np.log10([rows["seconds"].min(), rows["seconds"].max()])
    ends = [low - 0.15, high + 0.3 * (high - low) + 0.35]
    figure.update_xaxes(title_text="training (s)", type="log", dtick=1, range=ends, row=1, col=2)
    figure.update_yaxes(range=[-0.6, len(rows) - 0.4], tickvals=levels, ticktext=list(rows["name"]))
    figure.update_yaxes(showline=False, ticks="", row=1, col=2)
    return figure.update_layout(template=TEMPLATE, width=560, height=70 + 26 * len(rows))
