"""Figures: the data they hold, and what is saved; no pixels."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from ppi_lib import figures, style
from ppi_lib.errors import InputError
from ppi_lib.evaluate import compute_curves

TABLE = pd.DataFrame({"x": [1, 2], "y": [0.5, 0.25]})


@pytest.fixture(scope="module")
def curves():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300).astype(float)
    return {
        name: compute_curves(labels, rng.random(300) * 0.7 + lift * labels) for name, lift in (("a", 0.2), ("b", 0.1))
    }


@pytest.fixture
def history():
    columns = ("train_loss", "validation_loss", "validation_auroc", "validation_auprc", "learning_rate")
    table = pd.DataFrame({name: np.linspace(0.5, 0.7, 4) + i for i, name in enumerate(columns)})
    table["validation_auroc"] = [0.5, 0.7, 0.6, 0.6]
    return table.assign(epoch=[1, 2, 3, 4])


@pytest.fixture
def rows():
    values = [
        ("low", 0.5, 0.4, 0.7, "baseline"),
        ("high", 0.9, np.nan, np.nan, "published"),
        ("mid", 0.7, 0.6, 0.75, "ours"),
    ]
    return pd.DataFrame(values, columns=["name", "value", "low", "high", "group"])


def test_history_shows_every_column_and_marks_the_best_epoch(history):
    figure = figures.plot_history(history, best_epoch=2)
    shown = [list(trace.y) for trace in figure.data]
    assert shown == [list(history[name]) for name in history.columns.drop("epoch")]
    assert [shape.x0 for shape in figure.layout.shapes] == [2]
    assert figure.layout.annotations[0].text == "best: epoch 2"


def test_roc_and_precision_recall_hold_the_curves_and_name_their_area(curves):
    roc = figures.plot_roc(curves)
    np.testing.assert_array_equal(roc.data[1].y, curves["b"].roc["true_positive_rate"])
    assert roc.data[0].name == f"a ({curves['a'].auroc:.3f})"
    recall = figures.plot_precision_recall(curves, 0.25)
    np.testing.assert_array_equal(recall.data[0].y, curves["a"].precision_recall["precision"])
    assert list(recall.data[-1].y) == [0.25, 0.25]


def test_lines_differ_in_colour_and_dash(curves):
    for figure in (figures.plot_roc(curves), figures.plot_precision_recall(curves, 0.5)):
        assert len({trace.line.color for trace in figure.data}) == len({trace.line.dash for trace in figure.data}) == 3


def test_reliability_shows_the_counts(curves):
    figure = figures.plot_reliability(curves)
    counts = [trace for trace in figure.data if trace.yaxis == "y2"]
    for trace, curve in zip(counts, curves.values(), strict=True):
        assert list(trace.y)[:-1] == curve.reliability["pairs"].tolist()


def test_reliability_shows_an_empty_bin_as_no_pairs():
    figure = figures.plot_reliability({"a": compute_curves([0, 1, 1], [0.01, 0.02, 0.99])})
    points, counts = figure.data[1:]
    assert list(points.x) == pytest.approx([0.015, 0.99])
    assert list(counts.y)[:-1] == [2, *[0] * 13, 1]


def test_comparison_is_sorted_with_its_intervals(rows):
    figure = figures.plot_comparison(rows)
    assert list(figure.layout.yaxis.ticktext) == ["low", "mid", "high"]
    ours = next(trace for trace in figure.data if trace.name == "ours")
    assert (ours.x[0], ours.y[0]) == (0.7, 1)
    assert (ours.error_x.array[0], ours.error_x.arrayminus[0]) == pytest.approx((0.05, 0.1))
    published = next(trace for trace in figure.data if trace.name == "published")
    assert (published.error_x.array[0], published.error_x.arrayminus[0]) == (0, 0)
    assert sorted(mark.text for mark in figure.layout.annotations) == ["0.500", "0.700", "0.900"]


def test_attention_keeps_heads_patches_and_proteins_apart():
    weights = np.arange(10.0).reshape(2, 5) / 45
    figure = figures.plot_attention(weights, 2, "P1", "P2", patch=32)
    bars = [trace for trace in figure.data if isinstance(trace, go.Bar)]
    left, right = ([bar for bar in bars if bar.xaxis == axis] for axis in ("x", "x2"))
    assert [list(bar.customdata) for bar in left[:2]] == [list(weights[1, :2]), list(weights[0, :2])]
    assert list(right[2].customdata) == pytest.approx(list(weights.mean(axis=0)[2:]))
    assert list(right[0].x) == [16.5, 48.5, 80.5]  # residues 1-32, 33-64, 65-96
    assert list(figure.layout.yaxis.ticktext) == ["2", "1", "mean"]
    assert figure.layout.xaxis2.title.text == "residue of P2"
    assert not any(isinstance(trace, go.Heatmap) for trace in figure.data)


def test_lengths_count_every_protein_and_those_cut():
    figure = figures.plot_lengths({"train": [100, 200, 1502, 1503], "test": [50]})
    assert [sum(trace.y) for trace in figure.data] == [4, 1]
    assert [trace.name for trace in figure.data] == ["train (25.0% longer)", "test (0.0% longer)"]
    assert figure.layout.shapes[0].x0 == 1502


def test_parameters_keep_their_order_and_colour_what_is_trained():
    table = pd.DataFrame({"part": ["encoder", "head"], "parameters": [1000, 10], "trainable": [False, True]})
    figure = figures.plot_parameters(table)
    assert {trace.name: (list(trace.y), list(trace.x)) for trace in figure.data} == {
        "trained": (["head"], [10]),
        "frozen": (["encoder"], [1000]),
    }
    assert list(figure.layout.yaxis.categoryarray) == ["head", "encoder"]


def test_every_figure_has_axis_titles_and_print_sized_text(curves, history, rows):
    made = [
        figures.plot_history(history),
        figures.plot_roc(curves),
        figures.plot_precision_recall(curves, 0.5),
        figures.plot_reliability(curves),
        figures.plot_comparison(rows),
        figures.plot_attention(np.full((2, 4), 0.25), 2, "A", "B"),
        figures.plot_lengths([10, 2000]),
        figures.plot_parameters(pd.DataFrame({"part": ["a"], "parameters": [5]})),
    ]
    for figure in made:
        assert figure.layout.xaxis.title.text or figure.layout.xaxis2.title.text
        font = figure.layout.template.layout.font
        assert font.size * 0.75 >= 6
        assert "sans-serif" in font.family


def test_bad_input_is_named(curves, history, rows):
    with pytest.raises(InputError, match="validation_auroc"):
        figures.plot_history(history.drop(columns="validation_auroc"))
    with pytest.raises(InputError, match="curves is empty"):
        figures.plot_roc({})
    with pytest.raises(InputError, match="prevalence is 0"):
        figures.plot_precision_recall(curves, 0)
    with pytest.raises(InputError, match="theirs"):
        figures.plot_comparison(rows.assign(group="theirs"))
    with pytest.raises(InputError, match="patches_a is 4"):
        figures.plot_attention(np.ones((2, 4)), 4, "A", "B")
    with pytest.raises(InputError, match="below 1"):
        figures.plot_lengths([0, 5])
    with pytest.raises(InputError, match="width_mm is 0"):
        figures.save_figure(go.Figure(), "x", data=TABLE, width_mm=0)


def test_without_a_browser_html_and_numbers_are_written(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("Kaleido requires Google Chrome to be installed.")

    monkeypatch.setattr(style, "draw_images", fail)
    tables = {"one": TABLE, "two": TABLE * 2}
    paths = figures.save_figure(go.Figure().add_bar(y=[1]), tmp_path / "new" / "fig", data=tables)
    assert [path.name for path in paths] == ["fig.html", "fig.json", "fig_one.csv", "fig_two.csv"]
    assert len(paths[0].read_text()) > 1e6  # holds plotly.js itself
    pd.testing.assert_frame_equal(pd.read_csv(paths[3]), TABLE * 2)


def test_width_and_height_are_those_of_the_page(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(style, "draw_images", asked.extend)
    figure = go.Figure(layout={"width": 100})
    figures.save_figure(figure, tmp_path / "fig", data=TABLE, width_mm=89, height_mm=25.4)
    assert {(image.figure.layout.width, image.figure.layout.height) for image in asked} == {(336, 96)}
    assert figure.layout.width == 100  # the figure handed in stays as it was


def test_pdf_svg_and_png_are_written_with_fonts_embedded(tmp_path):
    figure = figures.plot_attention(np.full((2, 4), 0.25), 2, "A", "B")
    paths = figures.save_figure(figure, tmp_path / "fig", data=TABLE, width_mm=89)
    if paths[0].suffix == ".html":
        pytest.skip("no Chrome or Chromium on this machine, so no PDF")
    assert [path.name for path in paths] == ["fig.pdf", "fig.svg", "fig.png", "fig.json", "fig.csv"]
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert "<svg" in paths[1].read_text()[:200]
    assert int.from_bytes(paths[2].read_bytes()[16:20]) == pytest.approx(89 / 25.4 * 300, abs=4)
    pdf = paths[0].read_bytes()
    assert b"/FontFile" in pdf or shutil.which("pdffonts") is not None
    if shutil.which("pdffonts"):
        fonts = subprocess.run(["pdffonts", paths[0]], capture_output=True, text=True, check=True).stdout
        assert len(fonts.splitlines()) > 2
        assert all(re.search(r"\byes\s+(yes|no)\s+(yes|no)\s+\d", line) for line in fonts.splitlines()[2:])


def test_reconstruction_shows_each_answer_for_each_group_with_its_share_of_the_loss():
    table = pd.DataFrame({"group": ["a", "b"], "weight": [0.75, 0.25], "model": [0.9, 0.5]})
    table = table.assign(visible_mean=[1.2, 0.6], global_mean=[1.1, 1.0])
    figure = figures.plot_reconstruction(table)
    drawn = {tuple(trace.x) for trace in figure.data}
    assert drawn == {tuple(table[column]) for column in ("model", "visible_mean", "global_mean")}
    assert list(figure.layout.yaxis.ticktext) == ["a (75%)", "b (25%)"]
    with pytest.raises(InputError, match="visible_mean"):
        figures.plot_reconstruction(table.drop(columns="visible_mean"))


def test_rebuilt_shows_hidden_patches_only_in_the_last_panel_and_greys_them_in_the_middle_one():
    table = pd.DataFrame({"channel": "charge", "patch": [1, 2, 3], "masked": [False, True, False]})
    table = table.assign(target=[0.5, -1.0, 2.0], rebuilt=[9.0, -0.8, 9.0])
    target, seen, rebuilt = (trace for trace in figures.plot_rebuilt(table, "P1").data if trace.type == "bar")
    assert list(target.customdata) == [0.5, -1.0, 2.0]
    assert seen.marker.color[1] == "#CCCCCC"
    assert list(rebuilt.customdata) == [-0.8]
    assert list(rebuilt.x) == [48.5]


def test_transfer_shows_intervals_and_seconds_and_refuses_a_training_of_no_time():
    rows = pd.DataFrame({"name": ["a", "b"], "value": [0.7, 0.8], "low": [0.6, 0.75], "high": [0.8, 0.9]})
    figure = figures.plot_transfer(rows.assign(seconds=[10.0, 100.0]))
    assert list(figure.data[0].x) == [0.7, 0.8]
    assert list(figure.data[0].error_x.array) == pytest.approx([0.1, 0.1])
    assert list(figure.data[1].x) == [10.0, 100.0]
    with pytest.raises(InputError, match="seconds holds 0"):
        figures.plot_transfer(rows.assign(seconds=[0.0, 1.0]))


def test_composition_orders_residues_by_the_first_set_and_shows_percent():
    table = pd.DataFrame({"residue": ["A", "L"], "train": [0.4, 0.6], "test": [0.5, 0.5]})
    figure = figures.plot_composition(table)
    assert [(trace.name, list(trace.x), list(trace.y)) for trace in figure.data] == [
        ("train", ["L", "A"], [60, 40]),
        ("test", ["L", "A"], [50, 50]),
    ]
    with pytest.raises(InputError, match="shares from 0 to 1"):
        figures.plot_composition(table.assign(test=[50, 50]))
    with pytest.raises(InputError, match="expected at least one"):
        figures.plot_composition(table[["residue"]])


def test_storage_says_each_size():
    figure = figures.plot_storage(pd.DataFrame({"form": ["residues", "patches"], "bytes": [45.2e9, 7.05e8]}))
    assert list(figure.data[0].x) == [45.2e9, 7.05e8]
    assert [text.strip() for text in figure.data[0].text] == ["45.2 GB", "705 MB"]
    assert list(figure.layout.yaxis.ticktext) == ["residues", "patches"]
    with pytest.raises(InputError, match="bytes holds 0"):
        figures.plot_storage(pd.DataFrame({"form": ["a"], "bytes": [0]}))


def test_patches_show_every_channel_over_the_residues():
    table = pd.DataFrame({"channel": ["a", "a", "b", "b"], "patch": [1, 2, 1, 2], "value": [1.0, -2.0, 0.0, 0.5]})
    figure = figures.plot_patches(table, "P1")
    assert [list(trace.customdata) for trace in figure.data if trace.type == "bar"] == [[0.0, 0.5], [1.0, -2.0]]
    assert list(figure.layout.yaxis.ticktext) == ["b", "a"]
    assert list(figure.data[0].x) == [16.5, 48.5]
    with pytest.raises(InputError, match="value"):
        figures.plot_patches(table.drop(columns="value"), "P1")


@pytest.fixture(scope="module")
def explained():
    """A pair of three and two patches, the last of each short."""
    places = [("A", "P1", 1, 1, 32), ("A", "P1", 2, 33, 64), ("A", "P1", 3, 65, 70)]
    places += [("B", "P2", 1, 1, 32), ("B", "P2", 2, 33, 40)]
    return pd.DataFrame(places, columns=["side", "protein", "patch", "first_residue", "last_residue"])


def test_weight_attribution_is_a_rectangle_per_patch_head_and_layer(explained):
    parts = [explained.assign(layer=k, head=h, attribution=k * np.arange(5) - h) for k in (1, 2) for h in (1, 2, 3)]
    figure = figures.plot_weight_attribution(pd.concat(parts))
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert len(bars) == 2 * 3 * 2
    assert list(bars[0].customdata) == [-1, 0, 1]
    assert list(bars[0].width) == [32, 32, 6]
    assert not any(trace.type == "heatmap" for trace in figure.data)
    assert "residues 65-70, head 1: 1.000" in bars[0].hovertext


def test_tracks_show_both_proteins_on_one_scale_with_their_residues(explained):
    sequences = {"P1": "ACDEFGHIKL" * 7, "P2": "M" * 40}
    table = explained.assign(score=[1.0, -2.0, 0.5, 3.0, 0.0])
    figure = figures.plot_tracks(table, sequences, sites={"P2": (4, 20, "key 1")})
    assert [list(trace.y) for trace in figure.data] == [[1.0, -2.0, 0.5], [3.0, 0.0]]
    assert figure.layout.yaxis.range == figure.layout.yaxis2.range
    assert "<b>FGHIKL</b>" in figure.data[0].hovertext[2]
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (4.5, 20.5)


def test_removal_draws_both_curves_of_each_method_and_random_in_grey():
    fraction = [0.0, 0.5, 1.0]
    rows = [(m, f, 1 - f, f) for m in ("random", "ablated_tokens") for f in fraction]
    figure = figures.plot_removal(pd.DataFrame(rows, columns=["method", "fraction", "deletion", "insertion"]))
    assert [trace.name for trace in figure.data] == ["ablated tokens"] * 2 + ["random"] * 2
    assert list(figure.data[0].y) == [1.0, 0.5, 0.0]
    assert figure.data[2].line.color == figures.GREY


def test_attention_against_attribution_puts_patches_side_by_side(explained):
    figure = figures.plot_attention_against(explained.assign(score=range(5)), explained.assign(score=range(5, 10)))
    assert [list(trace.x) for trace in figure.data] == [[0, 1, 2], [3, 4]]
    assert [list(trace.y) for trace in figure.data] == [[5, 6, 7], [8, 9]]
    with pytest.raises(InputError, match="different pairs"):
        figures.plot_attention_against(explained.assign(score=1), explained.assign(score=1, protein="P3"))


def test_a_figure_of_an_attribution_needs_both_sides(explained):
    with pytest.raises(InputError, match="expected A and B"):
        figures.plot_tracks(explained[explained["side"] == "A"].assign(score=1.0))
