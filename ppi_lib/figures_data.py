"""Figures of the data: what proteins are made of, what a store takes, and one protein's patches."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ppi_lib.errors import InputError
from ppi_lib.figures_inside import BLUE_TO_RED, colour_bar, patch_tiles
from ppi_lib.style import PALETTE, TEMPLATE, require_columns

_ABOVE = {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"}
_SYMBOLS = ("circle", "square-open", "diamond-open", "x-thin-open")
_UNITS = ("B", "kB", "MB", "GB", "TB")


def plot_composition(table: pd.DataFrame) -> go.Figure:
    """Share of each residue: `residue`, and a column of shares, 0 to 1, for each set of proteins."""
    require_columns(table, "table", ("residue",))
    groups = [column for column in table if column != "residue"]
    if not groups or not table[groups].stack().between(0, 1).all():
        raise InputError(f"table has sets {groups}; expected at least one, with shares from 0 to 1.")
    order = table.sort_values(groups[0], ascending=False)
    figure = go.Figure()
    for index, group in enumerate(groups):
        marker = {"color": PALETTE[index], "symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 7}
        marker["line"] = {"width": 1.2, "color": PALETTE[index]}
        figure.add_scatter(x=order["residue"], y=100 * order[group], mode="markers", marker=marker, name=group)
    figure.update_xaxes(title_text="residue", type="category")
    figure.update_yaxes(title_text="share (%)", rangemode="tozero")
    return figure.update_layout(template=TEMPLATE, width=460, height=240, showlegend=len(groups) > 1, legend=_ABOVE)


def _size(count: float) -> str:
    """Write a number of bytes with three digits."""
    power = int(np.clip(np.log10(count) // 3, 0, len(_UNITS) - 1))
    return f"{count / 1000**power:.3g} {_UNITS[power]}"


def plot_storage(table: pd.DataFrame) -> go.Figure:
    """Bytes of each `form` of the same embeddings, on a log axis, in the order given."""
    require_columns(table, "table", ("form", "bytes"))
    if (table["bytes"] < 1).any():
        raise InputError(f"table.bytes holds {table['bytes'].min()}; expected 1 or more.")
    levels = list(range(len(table)))[::-1]
    figure = go.Figure()
    text = [f"  {_size(value)}" for value in table["bytes"]]
    marker = {"color": PALETTE[0], "size": 9}
    options = {"mode": "markers+text", "textposition": "middle right", "cliponaxis": False, "showlegend": False}
    figure.add_scatter(x=table["bytes"], y=levels, text=text, marker=marker, **options)
    low, high = np.log10([table["bytes"].min(), table["bytes"].max()])
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    ticks = {"tickvals": [10.0**power for power in powers], "ticktext": [_size(10**power) for power in powers]}
    figure.update_xaxes(title_text="size", type="log", range=[powers[0] - 0.1, high + 0.5], **ticks)
    figure.update_yaxes(tickvals=levels, ticktext=list(table["form"]), range=[-0.6, len(table) - 0.4])
    return figure.update_layout(template=TEMPLATE, width=460, height=80 + 26 * len(table))


def plot_patches(table: pd.DataFrame, name: str, *, patch: int = 32) -> go.Figure:
    """One protein's patches: a row of rectangles for each channel.

    `table` has a row per channel and patch: `channel`, `patch` (from 1) and `value` in deviations from the mean.
    """
    require_columns(table, "table", ("channel", "patch", "value"))
    channels = list(dict.fromkeys(table["channel"]))[::-1]
    top = table["value"].abs().max() or 1.0
    figure = go.Figure()
    for level, channel in enumerate(channels):
        figure.add_trace(patch_tiles(table[table["channel"] == channel], "value", level, patch, top))
    figure.add_trace(colour_bar("deviations from the mean", -top, top, BLUE_TO_RED))
    figure.update_xaxes(title_text=f"residue of {name}", range=[0.5, table["patch"].max() * patch + 0.5], nticks=12)
    figure.update_xaxes(showgrid=False)
    labels = {"tickvals": list(range(len(channels))), "ticktext": channels, "ticks": ""}
    figure.update_yaxes(**labels, title_text="channel", range=[-0.6, len(channels) - 0.4], showgrid=False)
    height = max(180, 80 + 14 * len(channels))
    return figure.update_layout(template=TEMPLATE, width=692, height=height, barmode="overlay", bargap=0)
