import re

import nbformat
import pandas as pd
import pytest

from ppi_lib.errors import InputError
from ppi_lib.notebooks import run_notebook, run_notebooks
from ppi_lib.report import Scored, evaluate_scored


def write_notebook(path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    title = f"# {path.stem[3:].capitalize()}: a & b\n\nWho <reads> this.\n\nYou will see"
    cells.insert(0, nbformat.v4.new_markdown_cell(title))
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def evaluation(tmp_path, pair_sets) -> str:
    train, validation = pair_sets
    table = evaluate_scored([Scored("toy", "ours", validation.labels, train.labels)], train, validation, draws=20)
    table.to_csv(tmp_path / "toy.csv", index=False)
    return str(tmp_path / "toy.csv")


def test_notebooks_run_in_order_with_the_parameters_and_leave_html(tmp_path, evaluation):
    folder, out, said = tmp_path / "notebooks", tmp_path / "out", []
    folder.mkdir()
    write_notebook(folder / "02_second.ipynb", "out = ''", "open(f'{out}/figures/a.csv').read().upper()")
    first = "import os, shutil\nos.makedirs(f'{out}/figures')\nopen(f'{out}/figures/a.csv', 'w').write(dataset)"
    write_notebook(
        folder / "01_first.ipynb",
        "out = ''\ndataset = ''",
        f"{first}\nshutil.copy({evaluation!r}, f'{{out}}/evaluation.csv')",
    )
    run_notebooks(folder, out, {"dataset": "demo", "out": str(out), "unknown": "x"}, say=said.append)
    assert "unknown" not in (out / "notebooks" / "01_first.ipynb").read_text()
    assert "DEMO" in (out / "notebooks" / "02_second.html").read_text()
    assert said[:3:2] == ["01_first.ipynb ...", "02_second.ipynb ..."]
    assert said[1].strip().removesuffix(" s").isdigit()
    assert "toy" in "\n".join(said)
    index = (out / "notebooks" / "index.html").read_text()
    assert index.index('<a href="01_first.html">') < index.index('<a href="02_second.html">Second: a &amp; b</a>')
    assert "<p>Who &lt;reads&gt; this.</p>" in index
    assert pd.read_csv(out / "evaluation.csv")["auroc"][0] == 1


def test_a_notebook_that_fails_says_which_and_why(tmp_path):
    write_notebook(tmp_path / "01_first.ipynb", "x = 1", "1 / 0")
    with pytest.raises(SystemExit, match=r"01_first\.ipynb failed: ZeroDivisionError"):
        run_notebooks(tmp_path, tmp_path / "out", {"dataset": "demo"}, say=lambda line: None)
    assert (tmp_path / "out" / "notebooks" / "01_first.ipynb").exists()


def test_an_unknown_dataset_and_a_folder_without_notebooks_are_refused(tmp_path):
    with pytest.raises(InputError, match="'nope'; expected one of demo"):
        run_notebooks(tmp_path, tmp_path, {"dataset": "nope"})
    with pytest.raises(InputError, match="no notebooks here"):
        run_notebooks(tmp_path, tmp_path, {"dataset": "demo"})


@pytest.fixture
def report(tmp_path):
    """A notebook that shows its parameters and a figure, and loads its dataset."""
    source = (
        "import plotly.graph_objects as go\nfrom ppi_lib.datasets import load_dataset\nprint(repr((dataset, pairs)))"
    )
    write_notebook(
        tmp_path / "01_first.ipynb",
        "dataset = 'demo'\nfasta = ''\npairs = 3\nout = ''",
        source,
        "go.Figure(go.Scatter(y=[1, 2]))",
        "from tqdm.notebook import tqdm\nfor _ in tqdm(range(3)):\n    pass",
        "load_dataset(dataset, fasta=fasta)",
    )
    return tmp_path / "01_first.ipynb"


def test_a_notebook_is_a_report_on_own_files_and_reads_without_a_network(report, tmp_path, monkeypatch, pair_sets):
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "my.tsv").write_text("a\tb\t1\n")  # lacks its sequences
    with pytest.raises(InputError, match=r"01_first\.ipynb: .*my\.tsv: no sequences beside it"):
        run_notebook(report, {"dataset": "my.tsv", "pairs": "7"}, say=lambda line: None)
    page = folder / "runs" / "my" / "notebooks" / "01_first.ipynb"
    assert f"('{folder}/my.tsv', 7)" in page.read_text()

    html = run_notebook(report, {"pairs": "2"}, say=lambda line: None).read_text()
    assert html.count("Plotly.newPlot(") >= 1
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:[^"]*"', html)
    assert "import mermaid" not in html
    assert "html-manager" not in html  # draws widgets, from elsewhere
    assert "0%|" not in html
    assert len(html) < 8e6


def test_bad_input_in_a_notebook_is_one_message_without_a_traceback(report, tmp_path):
    with pytest.raises(InputError, match=r"nope\.tsv'; expected one of demo"):
        run_notebook(report, {"dataset": "nope.tsv"}, tmp_path / "out", say=lambda line: None)
    cells = nbformat.read(tmp_path / "out" / "notebooks" / "01_first.ipynb", as_version=4).cells
    (error,) = [output for cell in cells for output in cell.get("outputs", ()) if output.output_type == "error"]
    assert len(error.traceback) == 1
    assert "dataset is" in error.traceback[0]


def test_an_unknown_parameter_or_notebook_is_refused(report, tmp_path):
    with pytest.raises(InputError, match="no parameter sise; expected some of dataset, fasta, pairs, out"):
        run_notebook(report, {"sise": "v5"})
    with pytest.raises(InputError, match="no such notebook; expected one of: 01_first"):
        run_notebook(tmp_path / "02_second.ipynb", {})
