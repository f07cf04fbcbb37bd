"""Two real processes train as one does: the same loss curve and weights, one writer, and resume."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ppi_lib.errors import InputError
from ppi_lib.parallel import Team, team
from tests.parallel_run import KINDS, train

RUN = Path(__file__).parent / "parallel_run.py"


def launch(size: int, *arguments: Path) -> list[dict]:
    """Start what torchrun starts, processes that know their rank and where to meet; return what each found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common |= {"OMP_NUM_THREADS": 1, "PYTHONPATH": RUN.parent.parent, "ACCELERATE_USE_CPU": 1}
    command, running = [sys.executable, RUN, *arguments], []
    for rank in range(size):
        given = {name: str(value) for name, value in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()}
        running.append(subprocess.Popen(command, env={**os.environ, **given}, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * size
    return [json.loads(output.splitlines()[-1]) for output in outputs]


@pytest.fixture(scope="module")
def inputs(store, pair_sets, tmp_path_factory) -> Path:
    """What the processes read: 65 training pairs, so that the last batch is one pair for two processes."""
    folder = tmp_path_factory.mktemp("inputs")
    pairs = {"train": pair_sets[0].take(np.arange(65)), "validation": pair_sets[1]}
    content = {n: {"a": list(p.a), "b": list(p.b), "labels": p.labels.tolist()} for n, p in pairs.items()}
    (folder / "inputs.json").write_text(json.dumps({"store": str(store.path), **content}))
    return folder


@pytest.fixture(scope="module")
def by_two(inputs, tmp_path_factory) -> tuple[list[dict], Path]:
    """What two processes find, and their folder."""
    out = tmp_path_factory.mktemp("by_two")
    return launch(2, inputs, out), out


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_loss_curve_of_one(by_two, inputs, tmp_path, kind):
    two, _ = by_two
    one = train(kind, inputs, tmp_path)
    for name in ("train_loss", "validation_loss"):
        curve = one["history"][name]
        assert len(curve) == 4
        assert max(curve) - min(curve) > 5e-3  # fifty times what is allowed
        for each in two:
            assert each[kind]["history"][name] == pytest.approx(curve, abs=1e-4)
    assert two[0][kind]["weights"] == two[1][kind]["weights"]  # bit for bit
    assert two[0][kind]["norm"] == pytest.approx(one["norm"], abs=1e-3)


def test_the_first_process_alone_writes_and_is_called_back(by_two):
    two, out = by_two
    assert [each["written"] for each in two] == [True, False]
    assert [each["frozen"]["callbacks"] for each in two] == [16, 0]  # 3 steps and an end in each of 4 epochs
    encoded = [each["frozen"]["encoded"] for each in two]
    assert encoded == [2, 1]  # the table by the first one; the last validation, without a table, by both
    assert {path.name for path in (out / "frozen").iterdir()} == {"training.pt", "tokens.safetensors"}


def test_a_stopped_training_of_two_goes_on_to_the_same_weights(by_two):
    """The callback stops the first process in the middle of the third epoch; the other one stops with it."""
    for each in by_two[0]:
        assert each["stopped"]["stopped"] == "callback"
        assert each["resumed"]["stopped"] == "epochs"
        assert each["resumed"]["weights"] == each["frozen"]["weights"]
    assert by_two[0][0]["resumed"]["callbacks"] == 8


def test_processes_that_do_not_see_one_folder_are_refused(by_two):
    for each in by_two[0]:
        assert "one folder that all processes see" in each["apart"]


def test_a_process_alone_is_a_team_that_changes_nothing():
    alone = team()
    assert (alone.rank, alone.size, alone.main) == (0, 1, True)
    rows, model = torch.arange(7), torch.nn.Linear(2, 1)
    assert [part.tolist() for part in alone.parts(rows, 4)] == [[0, 1, 2, 3], [4, 5, 6]]
    assert alone.sum(rows) is rows
    assert alone.place(model) is model
    assert alone.seed(3, 5) == hash((3, 5)) % 2**63
    assert (alone.any(True), alone.any(False)) == (True, False)
    alone.require_same(4, "epochs")
    assert alone.sum_step(model.parameters(), 0.5) == 0.5
    assert all(p.grad is None for p in model.parameters())


def test_shares_are_disjoint_and_whole_and_seeds_differ():
    ranks = [Team(dataclasses.make_dataclass("S", ["process_index", "num_processes"])(rank, 3)) for rank in range(3)]
    rows = torch.arange(10)
    assert sorted(torch.cat([each.share(rows) for each in ranks]).tolist()) == list(range(10))
    assert [len(each.parts(rows[:2], 8)) for each in ranks] == [1, 1, 0]
    assert len({each.seed(0, 1) for each in ranks}) == 3
    assert [each.main for each in ranks] == [True, False, False]


def test_numbers_that_differ_are_said():
    with pytest.raises(InputError, match="process 0 of 2 finds 3"):
        Apart().require_same(3, "epochs done")


class Apart(Team):
    """A team in which the other process finds nothing."""

    def __init__(self):
        super().__init__()
        self.size = 2

    def sum(self, values):
        return values
