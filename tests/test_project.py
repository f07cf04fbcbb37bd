"""What the project promises of itself: its files agree with one another."""

import ast
import json
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIRST_FLOOR = set(
    """
    train pretrain embed datasets baselines predict probe import_embeddings language_model report plain progress
    notebooks dashboard screen cluster audit assess page attribute scorecard truth explore cli
    """.split()  # noqa: SIM905
)


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[1] for name in found if name.startswith("ppi_lib.")}


def test_environment_and_pyproject_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = (ROOT / "environment.yml").read_text()
    assert "-e .[all]" in environment
    assert "-c constraints.txt" in environment
    lowest = project["requires-python"].removeprefix(">=")
    assert f"python={lowest}" in environment
    extras = set(project["optional-dependencies"]) - {"all"}
    assert project["optional-dependencies"]["all"] == [f"ppi_lib[{','.join(sorted(extras))}]"]


def test_every_dependency_is_pinned_within_its_range():
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    for requirement in map(Requirement, wanted):
        if requirement.name != "ppi_lib":
            assert requirement.specifier.contains(pins[requirement.name.lower().replace("_", "-")]), requirement


def test_the_ground_floor_imports_nothing_from_above():
    for path in (ROOT / "ppi_lib").glob("*.py"):
        if path.stem not in FIRST_FLOOR:
            assert not imports_of(path) & FIRST_FLOOR, path.name


def test_the_readme_has_a_line_for_every_module():
    readme = (ROOT / "README.md").read_text()
    missing = [p.name for p in (ROOT / "ppi_lib").glob("*.py") if p.name not in readme and p.stem != "__init__"]
    assert missing == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin(path):
    cells = json.loads(path.read_text())["cells"]
    code = [line for cell in cells if cell["cell_type"] == "code" for line in cell["source"] if line.strip()]
    assert cells[0]["cell_type"] == "markdown"
    assert len(code) <= 100
    assert not any(line.startswith(("def ", "class ")) for line in code)
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells) == 1
