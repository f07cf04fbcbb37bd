"""Every figure as it is printed: vector, fonts embedded, text not below 6 pt; and as it stands on a dark slide."""

import itertools
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from ppi_lib import (
    figures,
    figures_attribution,
    figures_data,
    figures_explore,
    figures_inside,
    figures_screen,
    figures_trust,
)
from ppi_lib.drawing import Image, draw_images
from ppi_lib.errors import InputError
from ppi_lib.evaluate import compute_curves
from ppi_lib.selective import risk_coverage
from ppi_lib.style import darken, draw_dark, save_figure
from ppi_lib.thresholds import sweep_thresholds

MODULES = (figures, figures_attribution, figures_data, figures_explore, figures_inside, figures_screen, figures_trust)
NARROW = {"plot_roc", "plot_precision_recall", "plot_reliability", "plot_risk_coverage"}
POINTS_OF_A_PIXEL = 72 / 96


def explained() -> pd.DataFrame:
    places = [("A", "P1", 1, 1, 32), ("A", "P1", 2, 33, 60), ("B", "P2", 1, 1, 32), ("B", "P2", 2, 33, 40)]
    return pd.DataFrame(places, columns=["side", "protein", "patch", "first_residue", "last_residue"])


def make_figures() -> dict[str, go.Figure]:
    """Every `plot_` function once, by name."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    scores = {name: 0.3 * labels + 0.7 * generator.random(300) for name in ("model", "baseline")}
    curves = {name: compute_curves(labels, score) for name, score in scores.items()}
    columns = ("train_loss", "validation_loss", "validation_auroc", "validation_auprc", "learning_rate")
    history = pd.DataFrame({name: np.geomspace(1, 0.5, 4) for name in columns}).assign(epoch=range(1, 5))
    history["learning_rate"] = [2e-5, 1e-4, 4e-4, 1e-5]
    rows = pd.DataFrame({"name": ["a", "b"], "value": [0.7, 0.8], "low": [0.6, 0.75], "high": [0.8, 0.9]})
    strata = rows.assign(by="class", stratum=["C1", "C3"], pairs=10)
    strata = strata.rename(columns={"value": "auroc", "low": "auroc_low", "high": "auroc_high"})
    errors = pd.DataFrame({"group": ["a", "b"], "weight": [0.7, 0.3], "model": [0.9, 0.5]})
    rebuilt = pd.DataFrame({"channel": "charge", "patch": [1, 2], "masked": [False, True], "target": [1.0, -1.0]})
    patches = pd.DataFrame({"channel": ["a", "a"], "patch": [1, 2], "value": [1.0, -2.0]})
    removal = [(m, f, 1 - f, f) for m in ("random", "ablated") for f in (0.0, 0.5, 1.0)]
    pairs = pd.DataFrame({"protein_a": ["A", "A", "B"], "protein_b": ["B", "C", "C"], "logit": [0.0, 3.0, 1.0]})
    pairs = pairs.assign(interacts=[False, True, False])
    heads = [explained().assign(layer=k, head=h, attribution=[1, -1, 0, 2]) for k in (1, 2) for h in (1, 2)]
    places = explained().assign(score=[1.0, -2.0, 0.5, 0.1])
    made = {
        "plot_attention": figures.plot_attention(np.full((2, 4), 0.25), 2, "A", "B"),
        "plot_attention_against": figures.plot_attention_against(places, places),
        "plot_comparison": figures.plot_comparison(rows.assign(group=["ours", "published"])),
        "plot_composition": figures.plot_composition(pd.DataFrame({"residue": ["A", "L"], "train": [0.4, 0.6]})),
        "plot_history": figures.plot_history(history, best_epoch=2),
        "plot_lengths": figures.plot_lengths({"train": [100, 200, 1502, 1600], "test": [50]}),
        "plot_masks": figures_explore.plot_masks({"protein 1": 1600, "protein 2": 40}),
        "plot_network": figures_screen.plot_network(pairs),
        "plot_parameters": figures.plot_parameters(pd.DataFrame({"part": ["a", "b"], "parameters": [5, 85_000_000]})),
        "plot_partners": figures_explore.plot_partners(pairs.assign(partner=["B", "C", "D"]), "A"),
        "plot_patches": figures.plot_patches(patches, "P1"),
        "plot_precision_at": figures_screen.plot_precision_at(figures_screen.precision_at(pairs), base=0.5),
        "plot_precision_recall": figures.plot_precision_recall(curves, 0.5),
        "plot_rebuilt": figures.plot_rebuilt(rebuilt.assign(rebuilt=0.5), "P1"),
        "plot_reconstruction": figures.plot_reconstruction(errors.assign(visible_mean=1.2, global_mean=1.0)),
        "plot_reliability": figures.plot_reliability(curves),
        "plot_removal": figures.plot_removal(
            pd.DataFrame(removal, columns=["method", "fraction", "deletion", "insertion"])
        ),
        "plot_risk_coverage": figures_trust.plot_risk_coverage({"m": risk_coverage(labels, scores["model"], 0.5)}),
        "plot_roc": figures.plot_roc(curves),
        "plot_scores": figures_screen.plot_scores(pairs),
        "plot_storage": figures.plot_storage(pd.DataFrame({"form": ["a", "b"], "bytes": [45.2e9, 7e8]})),
        "plot_strata": figures_trust.plot_strata(strata, whole=0.7),
        "plot_threshold": figures_explore.plot_threshold(sweep_thresholds(labels, scores["model"]), 0.5),
        "plot_tracks": figures.plot_tracks(places, {"P1": "M" * 60}, sites={"P2": (4, 20, "key 1")}),
        "plot_transfer": figures.plot_transfer(rows.assign(seconds=[10.0, 100.0])),
        "plot_weight_attribution": figures.plot_weight_attribution(pd.concat(heads)),
    }
    named = {name for module in MODULES for name in vars(module) if name.startswith("plot_")}
    assert named == set(made), "a figure is missing here"
    return made


@pytest.fixture(scope="module")
def made() -> dict[str, go.Figure]:
    return make_figures()


@pytest.fixture(scope="module")
def printed(made, tmp_path_factory):
    """All of them as PDF and SVG, at a journal's one or two columns."""
    folder = tmp_path_factory.mktemp("printed")
    widths = {name: 336 if name in NARROW else min(figure.layout.width, 692) for name, figure in made.items()}
    sized = [go.Figure(figure).update_layout(width=widths[name]) for name, figure in made.items()]
    paths = {kind: [folder / f"{name}.{kind}" for name in made] for kind in ("pdf", "svg")}
    try:
        draw_images([Image(figure, path) for kind in paths for figure, path in zip(sized, paths[kind], strict=True)])
    except RuntimeError as error:
        pytest.skip(f"no Chrome or Chromium on this machine: {error}"[:100])
    return paths


def test_fonts_are_embedded_and_nothing_is_a_raster(printed):
    if not (shutil.which("pdffonts") and shutil.which("pdfimages")):
        pytest.skip("poppler-utils is not on this machine")
    for path in printed["pdf"]:
        fonts, images = (
            subprocess.run([*command, path], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
            for command in (["pdffonts"], ["pdfimages", "-list"])
        )
        assert fonts, path.name
        assert all(re.search(r"\byes\s+(yes|no)\s+(yes|no)\s+\d", line) for line in fonts), path.name
        assert images == [], path.name


def test_no_text_is_below_six_points(printed):
    for path in printed["svg"]:
        text = path.read_text()
        assert "<image" not in text, path.name
        sizes = [float(size) for size in re.findall(r"font-size:\s*([\d.]+)px", text)]
        assert sizes, path.name
        assert min(sizes) * POINTS_OF_A_PIXEL >= 6, path.name
        assert not re.findall(r"font-size:\s*[\d.]+(?:%|em)", text), f"{path.name}: a superscript is smaller than that"


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.1)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def colours_of(part, key: str = "") -> set[str]:
    """Colours of lines, markers and text of a figure's JSON."""
    if isinstance(part, dict):
        return set(itertools.chain.from_iterable(colours_of(value, name) for name, value in part.items()))
    if isinstance(part, list):
        return set(itertools.chain.from_iterable(colours_of(value, key) for value in part))
    return {part} if key in ("color", "linecolor") and isinstance(part, str) and part.startswith("#") else set()


def test_on_a_dark_slide_lines_and_text_stand_out(made):
    for name, figure in made.items():
        dark = json.loads(darken(figure).to_json())
        dark["layout"].pop("colorway", None)
        back = luminance(dark["layout"]["template"]["layout"]["paper_bgcolor"])
        assert back < 0.02
        for colour in colours_of(dark["data"]) | colours_of(dark["layout"]):
            contrast = (luminance(colour) + 0.05) / (back + 0.05)
            assert contrast >= 3 or contrast < 1.3, f"{name}: {colour} has a contrast of {contrast:.1f}"


def test_a_folder_of_figures_is_drawn_dark(tmp_path, made):
    for name in ("plot_roc", "plot_tracks"):
        save_figure(made[name], tmp_path / name, data=pd.DataFrame({"x": [1]}))
    try:
        paths = draw_dark(tmp_path)
    except RuntimeError:
        pytest.skip("no Chrome or Chromium on this machine")
    assert sorted(path.name for path in paths) == [
        *("plot_roc_dark.png", "plot_roc_dark.svg", "plot_tracks_dark.png", "plot_tracks_dark.svg")
    ]
    assert "rgb(20, 24, 29)" in (tmp_path / "plot_roc_dark.svg").read_text()
    for name in ("plot_roc", "plot_tracks"):  # of the same size, or text would be smaller
        light, dark = ((tmp_path / f"{name}{kind}.svg").read_text() for kind in ("", "_dark"))
        size = re.compile(r'<svg[^>]* width="[\d.]+" height="[\d.]+"')
        assert size.search(light)[0] == size.search(dark)[0]
    with pytest.raises(InputError, match="no figures here"):
        draw_dark(tmp_path / "nowhere")
