"""Choose a pair, a method, a layer and a head in a notebook, and see the map and the sequences (ipywidgets).

What is shown are static figures, drawn anew at each choice; it needs no front end to run.
"""

import json
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from ppi_lib.attribute import attribute_patches, attribute_weights
from ppi_lib.attribution import DEFAULT_METHOD, METHODS, AttributionConfig
from ppi_lib.errors import InputError
from ppi_lib.figures_attribution import plot_tracks, plot_weight_attribution
from ppi_lib.model import PPIClassifier
from ppi_lib.pair_inputs import Pair, Source

EVERY = "all"
_PLOTLY = "application/vnd.plotly.v1+json"


class Explorer:
    """Widgets and the figure that they choose; `show()` returns them as one box."""

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
        import ipywidgets as widgets

        if not pairs:
            raise InputError("pairs are empty; expected at least one to choose from.")
        self.model, self.source, self.sequences, self.sites, self.config = model, source, sequences, sites, config
        layers, heads = (range(1, n + 1) for n in (model.config.cross_layers, model.config.cross_heads))
        first = DEFAULT_METHOD if DEFAULT_METHOD in methods else methods[0]
        self.pair = widgets.Dropdown(options=[(f"{a} - {b}", (a, b)) for a, b in pairs], description="pair")
        self.method = widgets.Dropdown(options=list(methods), value=first, description="method")
        self.layer = widgets.Dropdown(options=[EVERY, *layers], description="layer")
        self.head = widgets.Dropdown(options=[EVERY, *heads], description="head")
        self.output = widgets.Output()
        self.box = widgets.VBox([widgets.HBox([self.pair, self.method, self.layer, self.head]), self.output])
        for choice in (self.pair, self.method, self.layer, self.head):
            choice.observe(self._redraw, names="value")
        self._known = {}

    def _once(self, explain, method: str):
        """Explain the chosen pair by `method`, or recall it."""
        key = (explain.__name__, self.pair.value, method)
        if key not in self._known:
            self._known[key] = explain(self.model, self.source, self.pair.value, method, config=self.config)
        return self._known[key]

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """Return the tracks of the patches and the attention weights' attribution, as chosen."""
        patches = self._once(attribute_patches, self.method.value)
        method = "gradient_weights" if self.method.value == "gradient_weights" else "integrated_weights"
        weights = self._once(attribute_weights, method).table()
        for column, chosen in (("layer", self.layer.value), ("head", self.head.value)):
            weights = weights if chosen == EVERY else weights[weights[column] == chosen]
        shown = "weight" if self.method.value == "attention" else "attribution"
        unit = "attention" if shown == "weight" else "score (logits)"
        tracks = plot_tracks(patches.table(), self.sequences, sites=self.sites, unit=unit)
        return tracks, plot_weight_attribution(weights, value=shown)

    def _redraw(self, _change) -> None:
        # set at once: an Output that captures what is displayed can leave a notebook without a front end waiting
        self.output.outputs = tuple(
            {"output_type": "display_data", "data": {_PLOTLY: json.loads(figure.to_json())}, "metadata": {}}
            for figure in self.figures()
        )

    def show(self):
        """Return the widgets, with the first choice drawn."""
        self._redraw(None)
        return self.box
