"""Explorers for notebooks: something is chosen by hand, and what belongs to it is drawn anew (ipywidgets).

What they show are static figures and tables. Without a front end the first choice is drawn in the cell itself, so that
an executed or exported notebook has it.
"""

import json
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import pandas as pd
import plotly.graph_objects as go
import torch
from IPython.display import display

from ppi_lib.attribute import attribute_patches, attribute_weights
from ppi_lib.attribution import DEFAULT_METHOD, METHODS, AttributionConfig
from ppi_lib.dashboard import has_front_end
from ppi_lib.encoder import ModelConfig, patch_mask
from ppi_lib.errors import InputError
from ppi_lib.figures_attribution import plot_tracks, plot_weight_attribution
from ppi_lib.figures_explore import plot_masks, plot_partners, plot_threshold
from ppi_lib.model import PPIClassifier
from ppi_lib.pair_inputs import Pair, Source
from ppi_lib.ranking import partners_of
from ppi_lib.thresholds import CELLS, at_threshold, costs, sweep_thresholds

EVERY = "all"
_PLOTLY = "application/vnd.plotly.v1+json"
Part = go.Figure | pd.DataFrame


def _as_output(part: Part) -> dict:
    """Return a figure or a table as a notebook's output."""
    is_figure = isinstance(part, go.Figure)  # Plotly's JSON, whatever the renderer
    data = {_PLOTLY: json.loads(part.to_json())} if is_figure else {"text/html": part.to_html()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


class _Explorer:
    """Choices in a row, and below them what `parts` returns."""

    def __init__(self, *choices: widgets.Widget):
        self.choices, self.output = choices, widgets.Output()
        self.box = widgets.VBox([widgets.HBox(choices, layout=widgets.Layout(flex_flow="row wrap")), self.output])
        for choice in choices:
            choice.observe(self._redraw, names="value")

    def parts(self) -> Sequence[Part]:
        """Return the figures and tables of the choice."""
        raise NotImplementedError

    def _redraw(self, _change=None) -> None:
        # set at once: an Output that captures what is displayed can leave a notebook without a front end waiting
        self.output.outputs = tuple(map(_as_output, self.parts()))

    def show(self) -> widgets.Widget | None:
        """Return the widgets with the first choice drawn; without a front end display the first choice alone."""
        if not has_front_end():
            return display(*self.parts())
        self._redraw()
        return self.box


def _slider(kind, value, low, high, step, name: str) -> widgets.Widget:
    """A slider with room for its name; it tells as it moves."""
    layout, style = widgets.Layout(width="420px"), {"description_width": "150px"}
    return kind(value=value, min=low, max=high, step=step, description=name, layout=layout, style=style)


def _dropdown(options: Sequence, name: str, width: int, value=None) -> widgets.Widget:
    """A choice of `width` pixels, the name included; the first option, or `value`, is chosen."""
    layout, style = widgets.Layout(width=f"{width}px"), {"description_width": "initial"}
    chosen = {} if value is None else {"value": value}
    return widgets.Dropdown(options=options, description=name, layout=layout, style=style, **chosen)


class LengthExplorer(_Explorer):
    """Choose the lengths of two proteins that share a batch, and see their patches, masks and shapes."""

    def __init__(self, config: ModelConfig, first: int = 350, second: int = 120):
        self.config = config
        most = 2 * config.max_residues
        self.first = _slider(widgets.IntSlider, first, 1, most, 1, "residues of protein 1")
        self.second = _slider(widgets.IntSlider, second, 1, most, 1, "residues of protein 2")
        super().__init__(self.first, self.second)

    def parts(self) -> Sequence[Part]:
        config, given = self.config, (self.first.value, self.second.value)
        lengths = torch.tensor(given).clamp(max=config.max_residues)
        patches = -(-int(lengths.max()) // config.patch)
        real = patch_mask(lengths, patches, config.patch).sum(dim=1).tolist()
        rows = {
            "residues read": lengths.tolist(),
            "patches, padded": [(patches, config.embedding_width)] * 2,
            "mask, True and False": [f"{n} and {patches - n}" for n in real],
            "tokens: CLS and patches": [(1 + patches, config.width)] * 2,
            "of each pair, attention weights": [(config.cross_heads, 2 * patches)] * 2,
        }
        names = [f"protein {number}" for number in (1, 2)]
        figure = plot_masks(dict(zip(names, given, strict=True)), patch=config.patch, cut=config.max_residues)
        return figure, pd.DataFrame(rows, index=names).T


class ThresholdExplorer(_Explorer):
    """Move the threshold along the curves, and see what is called, what is missed, and what the errors cost."""

    def __init__(self, labels, probabilities, threshold: float):
        self.table = sweep_thresholds(labels, probabilities)
        self.threshold = _slider(widgets.FloatSlider, threshold, 0.0, 1.0, 0.005, "threshold")
        self.threshold.readout_format = ".3f"
        self.false_positive = _slider(widgets.FloatSlider, 1.0, 0.0, 20.0, 0.5, "a false alarm costs")
        self.false_negative = _slider(widgets.FloatSlider, 1.0, 0.0, 20.0, 0.5, "a missed pair costs")
        super().__init__(self.threshold, self.false_positive, self.false_negative)

    def parts(self) -> Sequence[Part]:
        given = {"false_positive": self.false_positive.value, "false_negative": self.false_negative.value}
        price, here = costs(self.table, **given), at_threshold(self.table, self.threshold.value)
        rows = {"chosen": here, "cheapest for these pairs": self.table.loc[price.idxmin()]}
        shown = pd.DataFrame(rows).T
        shown.loc["chosen", "threshold"] = self.threshold.value
        shown = shown.assign(cost=[price[here.name], price.min()]).astype(dict.fromkeys(CELLS, int))
        shown = shown.rename(columns=lambda name: name.replace("_", " ")).rename(columns={"cost": "cost of 100 pairs"})
        return plot_threshold(self.table, self.threshold.value, **given), shown.round(3)


class PartnerExplorer(_Explorer):
    """Search a protein of a screening, and see its best partners."""

    def __init__(self, table: pd.DataFrame, *, most: int = 50):
        self.table = table
        known = sorted({*table["protein_a"], *table["protein_b"]})
        if not known:
            raise InputError("table has no rows; expected the pairs of a screening.")
        self.known = set(known)
        first = table.loc[table["logit"].idxmax(), "protein_a"]
        self.protein = widgets.Combobox(value=first, options=known, description="protein", continuous_update=False)
        self.count = _slider(widgets.IntSlider, min(15, most), 1, most, 1, "partners")
        super().__init__(self.protein, self.count)

    def parts(self) -> Sequence[Part]:
        asked = self.protein.value.strip()
        if asked not in self.known:
            near = [name for name in sorted(self.known) if asked.lower() in name.lower()][:20]
            return (pd.DataFrame({f"no protein is called {asked!r}; these hold it": near}),)
        found = partners_of(self.table, asked).head(self.count.value)
        return plot_partners(found, asked), found.round(3)


class PairExplorer(_Explorer):
    """Choose a pair, a method, a layer and a head, and see the map of both proteins and of the weights."""

    def __init__(
        self,
        model: PPIClassifier,
        source: Source,
        pairs: Sequence[Pair],
        sequences: Mapping[str, str],
        *,
        sites: Mapping[str, tuple] | None = None,
        methods: Sequence[str] = METHODS,
        config: AttributionConfig = AttributionConfig(),
    ):
        if not pairs:
            raise InputError("pairs are empty; expected at least one to choose from.")
        self.model, self.source, self.sequences, self.sites, self.config = model, source, sequences, sites, config
        layers, heads = (range(1, n + 1) for n in (model.config.cross_layers, model.config.cross_heads))
        first = DEFAULT_METHOD if DEFAULT_METHOD in methods else methods[0]
        self.pair = _dropdown([(f"{a} - {b}", (a, b)) for a, b in pairs], "pair", 260)
        self.method = _dropdown(list(methods), "method", 230, first)
        self.layer = _dropdown([EVERY, *layers], "layer", 140)
        self.head = _dropdown([EVERY, *heads], "head", 140)
        super().__init__(self.pair, self.method, self.layer, self.head)
        self._known = {}

    def _once(self, explain, method: str):
        """Explain the chosen pair by `method`, or recall it."""
        key = (explain.__name__, self.pair.value, method)
        if key not in self._known:
            self._known[key] = explain(self.model, self.source, self.pair.value, method, config=self.config)
        return self._known[key]

    def parts(self) -> Sequence[Part]:
        patches = self._once(attribute_patches, self.method.value)
        method = "gradient_weights" if self.method.value == "gradient_weights" else "integrated_weights"
        weights = self._once(attribute_weights, method).table()
        for column, chosen in (("layer", self.layer.value), ("head", self.head.value)):
            weights = weights if chosen == EVERY else weights[weights[column] == chosen]
        shown = "weight" if self.method.value == "attention" else "attribution"
        unit = "attention" if shown == "weight" else "score (logits)"
        tracks = plot_tracks(patches.table(), self.sequences, sites=self.sites, unit=unit)
        return tracks, plot_weight_attribution(weights, value=shown)
