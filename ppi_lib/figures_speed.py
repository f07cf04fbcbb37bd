"""The figure of the speed benchmark: each way beside the plain form, and what all against all costs as it grows."""

from math import log10

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ppi_lib.style import GREY, PALETTE, TEMPLATE, require_columns

_FORMS = (
    ("plain", "float32", "plain form, float32", GREY),
    ("ppi_lib", "float32", "ppi_lib, float32", PALETTE[0]),
    ("ppi_lib", "bfloat16", "ppi_lib, bfloat16", PALETTE[1]),
)


def plot_speed(speed: pd.DataFrame, growth: pd.DataFrame) -> go.Figure:
    """Items per second of each `work` by `form` and `precision`, and `seconds_scoring` and `peak_memory_gb` over pairs.

    The dotted line of the second panel is the time of the largest screening, in proportion to the pairs.
    """
    require_columns(speed, "speed", ("work", "form", "precision", "unit", "per_second"))
    require_columns(growth, "growth", ("proteins", "pairs", "seconds_scoring", "peak_memory_gb"))
    figure = make_subplots(
        rows=1, cols=3, column_widths=[0.5, 0.25, 0.25], horizontal_spacing=0.09, subplot_titles=("a", "b", "c")
    )
    works = list(dict.fromkeys(zip(speed["work"], speed["unit"], strict=True)))[::-1]
    for offset, (form, precision, name, colour) in enumerate(_FORMS):
        part = speed[(speed["form"] == form) & (speed["precision"] == precision)].set_index("work")
        part = part.loc[[work for work, _ in works if work in part.index]]
        y = [[work for work, _ in works].index(work) + 0.22 * (1 - offset) for work in part.index]
        text = [f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value in part["per_second"]]
        marker = {"size": 7, "color": colour, "symbol": ("circle-open", "circle", "diamond")[offset]}
        figure.add_scatter(
            x=part["per_second"], y=y, mode="markers+text", text=text, marker=marker, name=name, row=1, col=1
        )
    figure.update_traces(textposition="middle right", textfont={"size": 8})
    top = speed["per_second"].max()
    figure.update_xaxes(title_text="per second", type="log", tickformat="~s", range=_decades(speed, top), row=1, col=1)
    names = [f"{work}<br>({unit})" for work, unit in works]
    figure.update_yaxes(tickvals=list(range(len(works))), ticktext=names, range=[-0.5, len(works) - 0.5], row=1, col=1)
    _add_growth(figure, growth.sort_values("pairs"))
    legend = {"orientation": "h", "x": 0, "y": 1.1, "yanchor": "bottom"}
    figure.update_annotations(font={"size": 10, "weight": 700})
    height = 110 + 46 * len(works)
    return figure.update_layout(template=TEMPLATE, width=692, height=height, margin={"t": 58}, legend=legend)


def _decades(speed: pd.DataFrame, top: float) -> list[float]:
    """Return the range of the logarithmic axis, with room for the numbers beside the points."""
    return [log10(speed["per_second"].min()) - 0.3, log10(top) + 0.9]


def _add_growth(figure: go.Figure, growth: pd.DataFrame) -> None:
    last, line = growth.iloc[-1], {"color": PALETTE[1], "width": 1.6}
    straight = growth["pairs"] * last["seconds_scoring"] / last["pairs"]
    dotted = {"color": GREY, "dash": "dot", "width": 1}
    figure.add_scatter(x=growth["pairs"], y=straight, mode="lines", line=dotted, showlegend=False, row=1, col=2)
    for column, name in enumerate(("seconds_scoring", "peak_memory_gb"), start=2):
        options = {"mode": "lines+markers", "line": line, "marker": {"size": 6}, "showlegend": False}
        figure.add_scatter(x=growth["pairs"], y=growth[name], **options, row=1, col=column)
        figure.update_xaxes(title_text="pairs", type="log", dtick=1, tickformat="~s", row=1, col=column)
    figure.update_yaxes(title_text="seconds", type="log", dtick=1, tickformat="~s", row=1, col=2)
    figure.update_yaxes(title_text="peak memory (GB)", rangemode="tozero", row=1, col=3)
