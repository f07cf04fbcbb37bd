import pytest

from ppi_lib.attribution import AttributionConfig
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import PRESETS
from ppi_lib.errors import InputError
from ppi_lib.explore import Explorer

PAIRS = [("P06", "P09"), ("P04", "P03")]


@pytest.fixture
def explorer(store, proteins):
    model = create_ppi_classifier(config=PRESETS["v3"]).eval()
    config = AttributionConfig(steps=8, samples=1)
    return Explorer(model, store, PAIRS, proteins.sequences, methods=("attention", "ablated_tokens"), config=config)


def test_a_choice_changes_what_is_drawn(explorer):
    tracks, weights = explorer.figures()
    explorer.pair.value = PAIRS[1]
    other, _ = explorer.figures()
    assert len(tracks.data[0].y) != len(other.data[0].y)
    explorer.method.value = "ablated_tokens"
    assert list(explorer.figures()[0].data[0].y) != list(other.data[0].y)
    assert len(weights.data) == 2 * 2 * 8 + 1
    explorer.layer.value, explorer.head.value = 2, 3
    assert len(explorer.figures()[1].data) == 2 + 1


def test_what_was_explained_is_not_explained_again(explorer):
    first, _ = explorer.figures()
    explorer.model = None  # whatever is explained from here on fails
    explorer.head.unobserve_all()
    explorer.head.value = 2
    again, _ = explorer.figures()
    assert list(again.data[0].y) == list(first.data[0].y)


def test_it_shows_without_a_front_end_and_refuses_no_pairs(explorer, store):
    assert explorer.show() is explorer.box
    assert [output["output_type"] for output in explorer.output.outputs] == ["display_data"] * 2
    assert all("application/vnd.plotly.v1+json" in output["data"] for output in explorer.output.outputs)
    with pytest.raises(InputError, match="pairs are empty"):
        Explorer(explorer.model, store, [], {})
