"""Figures of attributions: weights by head, two proteins' tracks, deletion and insertion, attention beside attribution.

`go.Heatmap` would be a raster inside a PDF, so weights are drawn as rectangles. Tables in, figures out: they are those
of `WeightAttribution.table`, `PatchAttribution.table` and `Scorecard`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from ppi_lib.errors import InputError
from ppi_lib.figures_inside import BLUE_TO_RED, colour_bar
from ppi_lib.style import DASHES, GREY, PALETTE, TEMPLATE, require_columns

_PLACE = ("side", "protein", "first_residue", "last_residue")
_SITE = "rgba(230,159,0,0.25)"


def _sides(table: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Return side, protein and length of A and of B."""
    found = [(side, part["protein"].iloc[0], int(part["last_residue"].max())) for side, part in table.groupby("side")]
    if [side for side, _, _ in found] != ["A", "B"]:
        raise InputError(f"table.side holds {[side for side, _, _ in found]}; expected A and B, the two of one pair.")
    return found


def plot_weight_attribution(table: pd.DataFrame, *, value: str = "attribution") -> go.Figure:
    """Rectangles of a row per head and a panel per layer over the residues of both proteins.

    `table` is `WeightAttribution.table()`; `value` is the column shown, `attribution` (logits) or `weight`.
    """
    require_columns(table, "table", (*_PLACE, "layer", "head", value))
    sides, layers = _sides(table), sorted(table["layer"].unique())
    lengths = [length for _, _, length in sides]
    share = min(max(lengths[0] / sum(lengths), 0.2), 0.8)
    figure = make_subplots(
        rows=len(layers),
        cols=2,
        shared_yaxes=True,
        shared_xaxes=True,
        column_widths=[share, 1 - share],
        horizontal_spacing=0.03,
        vertical_spacing=0.08,
    )
    top = table[value].abs().max() or 1.0
    heads = sorted(table["head"].unique())
    for (layer, side, head), part in table.groupby(["layer", "side", "head"]):
        level = len(heads) - 1 - heads.index(head)
        tiles = _tiles(part, value, level, top)
        figure.add_trace(tiles, row=layers.index(layer) + 1, col=1 + (side == "B"))
    title = "attribution (logits)" if value == "attribution" else "attention weight"
    figure.add_trace(colour_bar(title, -top, top, BLUE_TO_RED), row=1, col=1)
    for column, (_, protein, length) in enumerate(sides, start=1):
        figure.update_xaxes(range=[0.5, length + 0.5], showgrid=False, nticks=8, col=column)
        figure.update_xaxes(title_text=f"residue of {protein}", row=len(layers), col=column)
    labels = {"tickvals": list(range(len(heads))), "ticktext": [str(head) for head in heads[::-1]]}
    figure.update_yaxes(**labels, range=[-0.6, len(heads) - 0.4], showgrid=False)
    for row, layer in enumerate(layers, start=1):
        figure.update_yaxes(title_text=f"layer {layer}, head", row=row, col=1)
    figure.update_yaxes(showline=False, ticks="", col=2)
    height = 90 + len(layers) * (24 + 13 * len(heads))
    return figure.update_layout(template=TEMPLATE, width=692, height=height, barmode="overlay", bargap=0)


def _tiles(part: pd.DataFrame, value: str, level: int, top: float) -> go.Bar:
    """One head's row of rectangles, each as wide as its patch."""
    colours = sample_colorscale(BLUE_TO_RED, list((np.clip(part[value] / top, -1, 1) + 1) / 2))
    hover = [
        f"residues {row.first_residue}-{row.last_residue}, head {row.head}: {getattr(row, value):.3f}"
        for row in part.itertuples()
    ]
    return go.Bar(
        x=(part["first_residue"] + part["last_residue"]) / 2,
        width=part["last_residue"] - part["first_residue"] + 1,
        y=[0.92] * len(part),
        base=level - 0.46,
        marker={"color": colours, "line": {"width": 0}},
        customdata=part[value],
        hovertext=hover,
        hoverinfo="text",
        showlegend=False,
    )


def _lines(sequence: str, first: int, last: int) -> str:
    """A patch's residues in lines of sixteen."""
    residues = sequence[first - 1 : last]
    return "<br>".join(residues[start : start + 16] for start in range(0, len(residues), 16))


def _track(part: pd.DataFrame, sequence: str) -> go.Bar:
    """One protein's bars, each as wide as its patch."""
    hover = [
        f"{one.protein}, residues {one.first_residue}-{one.last_residue}: {one.score:+.3f}"
        f"<br><b>{_lines(sequence, one.first_residue, one.last_residue)}</b>"
        for one in part.itertuples()
    ]
    colours = [PALETTE[1] if score > 0 else PALETTE[0] for score in part["score"]]
    return go.Bar(
        x=(part["first_residue"] + part["last_residue"]) / 2,
        width=part["last_residue"] - part["first_residue"] + 1,
        y=part["score"],
        marker={"color": colours, "line": {"color": "white", "width": 0.6}},
        hovertext=hover,
        hoverinfo="text",
        showlegend=False,
    )


def plot_tracks(
    table: pd.DataFrame,
    sequences: Mapping[str, str] | None = None,
    *,
    sites: Mapping[str, tuple] | None = None,
    unit: str = "score (logits)",
) -> go.Figure:
    """Bars of the patches' scores along A and, below, along B; both on one scale.

    `table` is `PatchAttribution.table()`. With `sequences` a patch shows its residues on hover; `sites` (first residue
    from 0, one past the last) are shaded.
    """
    require_columns(table, "table", (*_PLACE, "score"))
    figure = make_subplots(rows=2, cols=1, vertical_spacing=0.24)
    spread = table["score"].abs().max() or 1.0
    for row, (side, protein, length) in enumerate(_sides(table), start=1):
        figure.add_trace(_track(table[table["side"] == side], (sequences or {}).get(protein, "")), row=row, col=1)
        if sites and protein in sites:
            start, stop = sites[protein][:2]
            shade = {"fillcolor": _SITE, "line": {"width": 0}, "layer": "below"}
            figure.add_vrect(x0=start + 0.5, x1=stop + 0.5, row=row, col=1, **shade)
        figure.update_xaxes(title_text=f"residue of {protein}", range=[0.5, length + 0.5], showgrid=False, row=row)
    low = min(0.0, table["score"].min())
    figure.update_yaxes(range=[low - 0.06 * spread, table["score"].clip(lower=0).max() + 0.1 * spread], title_text=unit)
    figure.add_hline(0, line={"color": "#333333", "width": 0.6})
    return figure.update_layout(template=TEMPLATE, width=692, height=330, bargap=0)


def plot_removal(curves: pd.DataFrame) -> go.Figure:
    """Deletion and insertion: the mean logit as patches are hidden, or kept, from the highest score down.

    `curves` has `method`, `fraction`, `deletion` and `insertion`; the method `random` is drawn grey.
    """
    require_columns(curves, "curves", ("method", "fraction", "deletion", "insertion"))
    titles = ("deletion: lower is better", "insertion: higher is better")
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=titles)
    methods = [*(name for name in dict.fromkeys(curves["method"]) if name != "random"), "random"]
    for index, method in enumerate(name for name in methods if (curves["method"] == name).any()):
        part = curves[curves["method"] == method].sort_values("fraction")
        line = {"color": PALETTE[index % len(PALETTE)], "dash": DASHES[index % len(DASHES)], "width": 1.5}
        line = {"color": GREY, "width": 1.5} if method == "random" else line
        name = method.replace("_", " ")
        for column, kind in enumerate(("deletion", "insertion"), start=1):
            shown = {"name": name, "legendgroup": name, "showlegend": column == 1}
            figure.add_scatter(
                x=100 * part["fraction"], y=part[kind], mode="lines", line=line, **shown, row=1, col=column
            )
    figure.update_xaxes(title_text="patches hidden (%)", row=1, col=1)
    figure.update_xaxes(title_text="patches kept (%)", row=1, col=2)
    figure.update_yaxes(title_text="mean logit", row=1, col=1)
    figure.update_annotations(font={"size": 10})
    return figure.update_layout(template=TEMPLATE, width=692, height=280, margin_t=28, legend={"x": 1.02, "y": 1})


def plot_attention_against(attention: pd.DataFrame, attribution: pd.DataFrame) -> go.Figure:
    """Where the model looked against what that did: a point is a patch. Both are `PatchAttribution.table()`."""
    for name, table in (("attention", attention), ("attribution", attribution)):
        require_columns(table, name, (*_PLACE, "score"))
    both = attention.merge(attribution, on=[*_PLACE, "patch"], suffixes=("_attention", "_attribution"))
    if not len(both) == len(attention) == len(attribution):
        raise InputError("attention and attribution are of different pairs; expected two tables of the same pair.")
    figure = go.Figure()
    for index, (side, protein, _) in enumerate(_sides(both)):
        part = both[both["side"] == side]
        hover = [f"{protein}, residues {row.first_residue}-{row.last_residue}" for row in part.itertuples()]
        marker = {"color": PALETTE[index], "symbol": ("circle", "diamond")[index], "size": 7}
        shown = {"mode": "markers", "marker": marker, "name": f"{side}: {protein}"}
        figure.add_scatter(x=part["score_attention"], y=part["score_attribution"], hovertext=hover, **shown)
    figure.add_hline(0, line={"color": GREY, "width": 1, "dash": "2px,2px"})
    figure.update_xaxes(title_text="attention (mean weight)", rangemode="tozero")
    figure.update_yaxes(title_text="attribution (logits)")
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    return figure.update_layout(template=TEMPLATE, width=400, height=310, legend=legend)
