"""Blocks on Dask workers: the same table, also when a worker is lost."""

import logging
import os
import signal
import socket

import pytest
import torch
from distributed import Client, LocalCluster

import ppi_lib.cluster
from ppi_lib.calibrate import Calibration
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.errors import InputError
from ppi_lib.screen import screen
from tests.test_scorer import shaken
from tests.test_screen import run

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    from tests.conftest import TINY

    return shaken(create_ppi_classifier(config=TINY))


def kill_once(flag: str) -> None:
    """Runs in a worker: the first one to come here is lost."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def lose_a_worker(client: Client, flag: str) -> None:
    """Let the second block that any worker begins be that worker's end."""

    def prepare(flag=flag):
        import ppi_lib.screen as there

        real, begun = there.Job.score_block, []

        def score_block(job, block):
            begun.append(block)
            if len(begun) == 2:
                kill_once(flag)
            real(job, block)

        there.Job.score_block = score_block

    client.run(prepare)


def test_two_workers_one_of_them_killed_in_the_middle_give_the_whole_table(model, store, tmp_path):
    calibration = Calibration(temperature=2.0, knots=((-1.0, -0.5), (1.0, 0.7)), prevalence=0.5, pairs=100)
    settings = {"top_k": 3, "band": 8, "calibration": calibration}
    whole = run(model, store, tmp_path / "whole.parquet", **settings)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    flag = tmp_path / "killed"
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        lose_a_worker(client, str(flag))
        out = tmp_path / "s.parquet"
        table = run(model, store, out, **settings, scheduler=cluster.scheduler_address)
    assert flag.exists()
    assert table.equals(whole)
    assert not (tmp_path / "s.parquet.parts").exists()


def test_what_is_done_is_not_given_to_workers(model, store, tmp_path, monkeypatch):
    """A stopped screening goes on elsewhere: here on Dask, in its second half."""
    whole = run(model, store, tmp_path / "whole.parquet")
    real, done = ppi_lib.screen.Job.score_block, []

    def stop(job, block):
        if len(done) == 3:
            raise KeyboardInterrupt
        real(job, block)
        done.append(block)

    monkeypatch.setattr(ppi_lib.screen.Job, "score_block", stop)
    with pytest.raises(KeyboardInterrupt):
        run(model, store, tmp_path / "s.parquet")
    monkeypatch.undo()
    submitted, submit = [], Client.submit
    monkeypatch.setattr(Client, "submit", lambda *a, **k: submitted.append(a[1].__name__) or submit(*a, **k))
    assert run(model, store, tmp_path / "s.parquet", workers=1).equals(whole)
    assert submitted == ["_score_block"] * 3


def test_no_scheduler_and_no_worker_are_said(model, store, tmp_path, monkeypatch):
    monkeypatch.setattr(ppi_lib.cluster, "_PATIENCE", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        screen(model, store, out=tmp_path / "x.parquet", scheduler=f"tcp://127.0.0.1:{port}", progress=False)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        pytest.raises(InputError, match="has no worker after 1 s"),
    ):
        screen(model, store, out=tmp_path / "x.parquet", scheduler=cluster.scheduler_address, progress=False)


def test_a_worker_does_not_take_a_new_job_in_the_same_folder_for_the_old_one(tiny, model, store, tmp_path):
    with LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        tables = []
        for each in (model, create_ppi_classifier(config=tiny, seed=9)):
            tables.append(run(each, store, tmp_path / "s.parquet", scheduler=cluster.scheduler_address))
            (tmp_path / "s.parquet").unlink()
            expected = run(each, store, tmp_path / "here.parquet")
            assert tables[-1].equals(expected)
            (tmp_path / "here.parquet").unlink()
    assert not tables[0].equals(tables[1])
