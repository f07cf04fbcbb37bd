"""The notebooks where people meet them: in a real JupyterLab, in a real browser."""

import re
from dataclasses import replace

import nbformat
import pandas as pd
import pytest

from ppi_lib.datasets import load_dataset, make_demo, save_dataset
from ppi_lib.embed import embed_proteins
from ppi_lib.train import SETTINGS, train_checkpoint
from tests.lab import ROOT, Lab, what_is_missing

pytestmark = pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "-")
SECONDS = 180_000  # a stuck page, not a slow one: it is done in a tenth of this
_POINTS = "() => document.querySelector('.js-plotly-plot:not(.jp-RenderedPlotly)')?.data?.[0]?.x?.length ?? 0"
_DRAWN = (
    "document.querySelector('.js-plotly-plot:not(.jp-RenderedPlotly) .scatterlayer path.js-line')?.getAttribute('d')"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab in a folder with a small dataset; a training on it takes some twenty seconds if nobody stops it."""
    folder = tmp_path_factory.mktemp("lab")
    data = make_demo(proteins=800, pairs=(12_000, 240, 400), median_length=100, domain=40)
    save_dataset(data, folder)
    parts = [pd.read_csv(folder / f"{split}.tsv", sep="\t").assign(split=split) for split in ("train", "test")]
    parts.append(pd.read_csv(folder / "validation.tsv", sep="\t").assign(split="validation"))
    pd.concat(parts).to_csv(folder / "pairs.tsv", sep="\t", index=False)
    data = load_dataset(folder / "pairs.tsv")
    store = embed_proteins(data.proteins, folder / "explained" / "store", progress=False)
    brief = {"config": replace(SETTINGS["v3"], epochs=2), "progress": False}
    train_checkpoint(store, data.train, data.validation, size="v3", out=folder / "explained" / "model", **brief)
    with Lab(folder) as opened:
        yield opened


def put(lab, name: str, **parameters) -> None:
    """Copy a notebook to the Lab's folder, with other parameters."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    notebook = load_notebook_node(str(ROOT / "notebooks" / name))
    given = {"dataset": "pairs.tsv", "out": "run", **parameters}
    nbformat.write(parameterize_notebook(notebook, given), lab.folder / name)


def click(page, name: str) -> None:
    page.locator("button.jupyter-button", has_text=re.compile(f"^{name}$")).click(timeout=SECONDS)


def wait_for(page, text: str):
    page.locator(".widget-html-content").get_by_text(text, exact=True).wait_for(timeout=SECONDS)


def step_shown(page) -> str:
    return page.get_by_text(re.compile(r"^epoch \d+ of \d+")).inner_text()


def test_a_training_is_watched_paused_resumed_and_stopped(lab):
    put(lab, "04_train.ipynb")
    page = lab.open("04_train.ipynb")
    lab.run_all()
    wait_for(page, "training")
    page.wait_for_function(f"({_POINTS})() > 1", timeout=SECONDS)
    before = page.evaluate(_POINTS), page.evaluate(_DRAWN)
    page.wait_for_function(f"({_POINTS})() > {before[0]}", timeout=SECONDS)
    assert page.evaluate(_DRAWN) != before[1]  # not the data alone: the line on the screen
    page.get_by_text(re.compile(r"^epoch \d+ of \d+ .* best epoch \d+$")).wait_for(timeout=SECONDS)

    click(page, "Pause")
    wait_for(page, "paused")
    held = step_shown(page)
    points = page.evaluate(_POINTS)
    page.wait_for_timeout(1500)  # thirty steps, were it not held
    assert (step_shown(page), page.evaluate(_POINTS)) == (held, points)
    click(page, "Resume")
    wait_for(page, "training")
    page.wait_for_function(f"({_POINTS})() > {points}", timeout=SECONDS)

    click(page, "Stop")
    page.get_by_text(re.compile("^stopped by callback, best epoch")).wait_for(timeout=SECONDS)
    page.get_by_text(re.compile("^The curves, and the numbers behind them")).wait_for(timeout=SECONDS)
    assert page.locator("button.jupyter-button").count() == 0
    assert page.get_by_role("columnheader", name="validation_auroc").count() == 1
    assert (lab.folder / "run" / "model" / "history.csv").is_file()
    assert lab.errors == []


def test_the_attribution_explorer_draws_what_is_chosen(lab):
    from playwright.sync_api import expect

    put(lab, "06_attribute.ipynb", out="explained", pairs=2)
    page = lab.open("06_attribute.ipynb")
    lab.run_all()
    explorer = page.locator(".jupyter-widgets.widget-vbox")
    explorer.locator(".js-plotly-plot").nth(1).wait_for(timeout=SECONDS)
    explorer.scroll_into_view_if_needed()
    bars = explorer.locator(".js-plotly-plot").nth(1).locator(".bars .point")
    every = bars.count()
    choose(explorer, "layer", "1")
    expect(bars).to_have_count(every // 2)
    choose(explorer, "head", "3")
    expect(bars).to_have_count(every // 16)
    titles = explorer.locator(".js-plotly-plot").first.locator(".xtitle, .x2title")
    before = titles.all_text_contents()
    pairs = explorer.get_by_label("pair", exact=True).locator("option").all_inner_texts()
    choose(explorer, "pair", pairs[1])
    expect(titles.first).not_to_have_text(before[0])
    assert [title.split()[-1] for title in titles.all_text_contents()] == pairs[1].replace("\xa0", " ").split(" - ")
    assert lab.errors == []


def choose(explorer, name: str, option: str) -> None:
    explorer.get_by_label(name, exact=True).select_option(option)
