"""Figures of a screening: how scores are distributed, how many of the best interact, and who they are.

All take tables with the columns of `ranking.write_ranked` and `interacts`, True for the pairs that are known to.
"""

import networkx as nx
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ppi_lib.style import DASHES, GREY, PALETTE, TEMPLATE, require_columns

_CLASSES = ((False, "other pairs", PALETTE[0]), (True, "known to interact", PALETTE[1]))
_BINS = 50


def precision_at(table: pd.DataFrame) -> pd.DataFrame:
    """Return `k` and `precision`, the share of the k pairs of highest logit that interact, for every k."""
    require_columns(table, "table", ("logit", "interacts"))
    hits = table.sort_values("logit", ascending=False, kind="stable")["interacts"].to_numpy()
    k = np.arange(1, len(hits) + 1)
    return pd.DataFrame({"k": k, "precision": hits.cumsum() / k})


def plot_scores(table: pd.DataFrame) -> go.Figure:
    """Pairs over the logit, those known to interact apart; counts on a logarithmic axis, since they are few."""
    require_columns(table, "table", ("logit", "interacts"))
    edges = np.linspace(table["logit"].min(), table["logit"].max(), _BINS + 1)
    figure = go.Figure()
    for (interacts, name, colour), dash in zip(_CLASSES, DASHES, strict=False):
        counts, _ = np.histogram(table.loc[table["interacts"] == interacts, "logit"], edges)
        line = {"color": colour, "shape": "hv", "width": 1.6, "dash": dash}
        drawn = np.where(counts > 0, counts, np.nan)
        figure.add_scatter(x=edges[:-1], y=drawn, mode="lines", line=line, name=name)
    figure.update_xaxes(title_text="logit")
    figure.update_yaxes(title_text="pairs", type="log", dtick=1, tickformat=",")
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    return figure.update_layout(template=TEMPLATE, width=460, height=310, legend=legend)


def plot_precision_at(curve: pd.DataFrame, *, base: float) -> go.Figure:
    """Precision over k, which is logarithmic, beside the share `base` of pairs that interact at all."""
    require_columns(curve, "curve", ("k", "precision"))
    line = {"color": PALETTE[0], "width": 1.6}
    figure = go.Figure(go.Scatter(x=curve["k"], y=curve["precision"], mode="lines", line=line))
    text = f"all pairs: {base:.3f}"
    position = "top left" if base < 0.5 else "bottom left"
    figure.add_hline(
        base, line={"color": GREY, "dash": "dash"}, annotation={"text": text}, annotation_position=position
    )
    figure.update_xaxes(title_text="best k pairs", type="log", dtick=1, tickformat=",")
    figure.update_yaxes(title_text="share known to interact", range=[0, 1.02])
    return figure.update_layout(template=TEMPLATE, width=460, height=300, showlegend=False)


def plot_network(table: pd.DataFrame, *, seed: int = 0) -> go.Figure:
    """Draw the pairs of a table as edges; meant for the best hundred or so. `seed` fixes where proteins stand."""
    require_columns(table, "table", ("protein_a", "protein_b", "interacts"))
    graph = nx.from_pandas_edgelist(table, "protein_a", "protein_b")
    place = nx.spring_layout(graph, seed=seed, k=2 / len(graph) ** 0.5, iterations=200)
    figure = go.Figure()
    for interacts, name, colour in _CLASSES:
        part = table[table["interacts"] == interacts]
        ends = [[*place[a], *place[b]] for a, b in zip(part["protein_a"], part["protein_b"], strict=True)]
        x, y = ([value for end in ends for value in (end[i], end[i + 2], None)] for i in (0, 1))
        line = {"color": colour, "width": 1.2, "dash": "solid" if interacts else "dot"}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name=f"{name} ({len(part)})", hoverinfo="skip")
    nodes, degrees = zip(*graph.degree, strict=True)
    marker = {"color": "#333333", "size": [5 + 1.5 * degree**0.5 for degree in degrees]}
    x, y = zip(*(place[node] for node in nodes), strict=True)
    figure.add_scatter(x=x, y=y, mode="markers", marker=marker, text=nodes, hoverinfo="text", showlegend=False)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    return figure.update_layout(template=TEMPLATE, width=560, height=500, legend=legend)
