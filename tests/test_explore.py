import pandas as pd
import pytest

from ppi_lib import explore
from ppi_lib.attribution import AttributionConfig
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import PRESETS
from ppi_lib.errors import InputError
from ppi_lib.explore import LengthExplorer, PairExplorer, PartnerExplorer, ThresholdExplorer

PAIRS = [("P06", "P09"), ("P04", "P03")]


@pytest.fixture
def explorer(store, proteins):
    model = create_ppi_classifier(config=PRESETS["v3"]).eval()
    config = AttributionConfig(steps=8, samples=1)
    return PairExplorer(model, store, PAIRS, proteins.sequences, methods=("attention", "ablated_tokens"), config=config)


def test_a_choice_changes_what_is_drawn(explorer):
    tracks, weights = explorer.parts()
    explorer.pair.value = PAIRS[1]
    other, _ = explorer.parts()
    assert len(tracks.data[0].y) != len(other.data[0].y)
    explorer.method.value = "ablated_tokens"
    assert list(explorer.parts()[0].data[0].y) != list(other.data[0].y)
    assert len(weights.data) == 2 * 2 * 8 + 1
    explorer.layer.value, explorer.head.value = 2, 3
    assert len(explorer.parts()[1].data) == 2 + 1


def test_what_was_explained_is_not_explained_again(explorer):
    first, _ = explorer.parts()
    explorer.model = None  # whatever is explained from here on fails
    explorer.head.unobserve_all()
    explorer.head.value = 2
    again, _ = explorer.parts()
    assert list(again.data[0].y) == list(first.data[0].y)


def kinds(explorer) -> list[str]:
    return [next(iter(output["data"])) for output in explorer.output.outputs]


def test_with_a_front_end_it_is_the_widgets_and_their_output(explorer, monkeypatch):
    monkeypatch.setattr(explore, "has_front_end", lambda: True)
    assert explorer.show() is explorer.box
    assert kinds(explorer) == ["application/vnd.plotly.v1+json"] * 2


def test_without_a_front_end_the_first_choice_is_displayed(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr(explore, "display", lambda *parts: shown.extend(parts))
    assert explorer.show() is None
    assert [type(part).__name__ for part in shown] == ["Figure", "Figure"]


def test_an_explorer_of_no_pairs_is_refused(explorer, store):
    with pytest.raises(InputError, match="pairs are empty"):
        PairExplorer(explorer.model, store, [], {})


def test_lengths_show_padding_and_the_cut():
    explorer = LengthExplorer(PRESETS["v5"], first=65, second=1)
    figure, table = explorer.parts()
    assert list(table.loc["mask, True and False"]) == ["3 and 0", "1 and 2"]
    assert list(table.loc["patches, padded"]) == [(3, 960)] * 2
    padding = next(trace for trace in figure.data if trace.name.startswith("padding"))
    assert list(padding.y) == ["protein 2"] * 2
    assert list(padding.base) == [32, 64]
    explorer.first.value = 1600
    assert kinds(explorer) == ["application/vnd.plotly.v1+json", "text/html"]
    figure, table = explorer.parts()
    assert table.loc["residues read", "protein 1"] == 1502
    cut = next(trace for trace in figure.data if trace.name.startswith("cut off"))
    assert cut.base[0] == 1502 or cut.base[0] == 47 * 32
    assert cut.base[-1] + cut.x[-1] == 1600


def test_a_threshold_moves_the_table_and_the_points_and_costs_decide_the_cheapest():
    explorer = ThresholdExplorer([0, 0, 1, 1, 1], [0.1, 0.6, 0.4, 0.7, 0.9], threshold=0.5)
    figure, table = explorer.parts()
    cells = ["true positive", "false positive", "false negative", "true negative"]
    assert list(table.loc["chosen", cells]) == [2, 1, 1, 1]
    assert table.loc["chosen", "cost of 100 pairs"] == 40
    assert table.loc["chosen", "threshold"] == 0.5
    assert [tuple(trace.y) for trace in figure.data if trace.mode == "markers"][:2] == [(2 / 3,), (2 / 3,)]
    explorer.threshold.value = 0.4
    assert list(explorer.parts()[1].loc["chosen", cells]) == [3, 1, 0, 1]
    explorer.false_positive.value = 20
    assert list(explorer.parts()[1].loc["cheapest for these pairs", cells]) == [2, 0, 1, 2]


def test_a_protein_is_searched_and_what_is_not_found_is_said():
    table = pd.DataFrame({"protein_a": ["P1", "P1", "Q2"], "protein_b": ["P3", "Q2", "P3"]})
    table = table.assign(
        logit=[0.0, 2.0, 1.0], interacts=[False, True, False], rank_in_a=[2, 1, 2], rank_in_b=[3, 4, 5]
    )
    explorer = PartnerExplorer(table)
    assert explorer.protein.value == "P1"
    assert list(explorer.parts()[1]["partner"]) == ["Q2", "P3"]
    explorer.protein.value = "P3"
    figure, found = explorer.parts()
    assert list(found["partner"]) == ["Q2", "P1"]
    assert list(found["rank"]) == [5, 3]
    assert list(figure.layout.yaxis.ticktext) == ["P1", "Q2"]
    explorer.protein.value = "p"
    assert [list(part.iloc[:, 0]) for part in explorer.parts()] == [["P1", "P3"]]
