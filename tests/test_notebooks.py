import nbformat
import pandas as pd
import pytest

from ppi_lib.errors import InputError
from ppi_lib.notebooks import run_notebooks
from ppi_lib.report import Scored, evaluate_scored


def write_notebook(path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
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
