import numpy as np
import pandas as pd
import pytest

from ppi_lib.datasets import known_interactions, make_demo
from ppi_lib.errors import InputError
from ppi_lib.figures_screen import plot_network, plot_precision_at, plot_scores, precision_at


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "protein_a": ["A", "A", "B", "C"],
            "protein_b": ["B", "C", "C", "D"],
            "logit": [0.0, 3.0, 1.0, 2.0],
            "interacts": [False, True, False, True],
        }
    )


def test_precision_at_k_is_that_of_the_k_best(table):
    curve = precision_at(table)
    assert curve["k"].tolist() == [1, 2, 3, 4]
    assert np.allclose(curve["precision"], [1, 1, 2 / 3, 1 / 2])


def test_every_pair_is_in_the_distribution_of_scores(table):
    others, known = plot_scores(table).data
    assert np.nansum(others.y) == 2
    assert np.nansum(known.y) == 2
    assert others.line.dash != known.line.dash


def test_the_precision_figure_shows_curve_and_base(table):
    figure = plot_precision_at(precision_at(table), base=0.5)
    assert list(figure.data[0].x) == [1, 2, 3, 4]
    assert figure.layout.shapes[0].y0 == 0.5


def test_the_network_has_every_pair_and_protein_and_stands_still(table):
    figure = plot_network(table)
    others, known, nodes = figure.data
    assert [trace.x.count(None) for trace in (others, known)] == [2, 2]
    assert set(nodes.text) == {"A", "B", "C", "D"}
    assert figure == plot_network(table)


def test_tables_without_what_is_drawn_are_refused(table):
    for plot in (plot_scores, plot_network, precision_at):
        with pytest.raises(InputError, match="interacts"):
            plot(table.drop(columns="interacts"))


def test_known_interactions_of_the_demo_are_all_and_elsewhere_the_positives():
    from dataclasses import replace

    data = make_demo(proteins=200, pairs=(100, 20, 20), shares=(0.6, 0.2, 0.2), domain=30, median_length=80)
    known = known_interactions(data, data.proteins.sequences)
    listed = known_interactions(replace(data, sites=None), data.proteins.sequences)
    assert listed < known
    labels = {
        (tuple(sorted((a, b))), label == 1)
        for pairs in (data.train, data.validation, data.test)
        for a, b, label in zip(pairs.a, pairs.b, pairs.labels, strict=True)
    }
    assert all((pair in known) == label for pair, label in labels)
    some = list(data.proteins.sequences)[:20]
    assert known_interactions(data, some) == {pair for pair in known if set(pair) <= set(some)}
