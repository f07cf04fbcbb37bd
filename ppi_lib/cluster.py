"""The steps of a screening as tasks of Dask: on processes of this machine, or on a cluster.

A task is a folder and the number of a band or block; what else it needs lies in that folder, which all workers must
see. Its result is a file there. So the tasks are independent, a worker that is lost costs what it was doing, and the
engine gives that to another one.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from dask.distributed import Client, LocalCluster, as_completed
from tqdm.auto import tqdm

from ppi_lib.blocks import Block, Plan
from ppi_lib.calibrate import Calibration
from ppi_lib.checkpoint import load_model, save_model
from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically
from ppi_lib.memory import keep_freed_memory
from ppi_lib.screen import Job, progress_bar
from ppi_lib.store import PatchStore

_PATIENCE = 10
"""Seconds to wait for a scheduler, and then for its first worker."""


class _Place(NamedTuple):
    """Where a worker finds its job."""

    folder: str
    written: int
    """When: a worker that lives on doesn't take another job in the same folder for the one it knows."""


def _leave_job(job: Job) -> _Place:
    """Write to the job's folder what a worker needs."""
    save_model(job.model, job.folder / "model")
    content = {
        "plan": asdict(job.plan),
        "store": str(job.store.path.resolve()),
        "dtype": str(job.dtype).removeprefix("torch."),
        "device": next(job.model.parameters()).device.type,
    }
    write_atomically(job.folder / "job.json", lambda path: path.write_text(json.dumps(content)))
    return _Place(str(job.folder.resolve()), time.time_ns())


@lru_cache(maxsize=1)
def _open_job(place: _Place) -> Job:
    """Read what `_leave_job` wrote; once for each worker."""
    keep_freed_memory()
    folder = Path(place.folder)
    content = json.loads((folder / "job.json").read_text())
    plan = content["plan"]
    for name in ("proteins_a", "proteins_b"):
        plan[name] = None if plan[name] is None else tuple(plan[name])
    plan["calibration"] = Calibration(**plan["calibration"])
    model, _ = load_model(folder / "model", device=content["device"])
    return Job(folder, Plan(**plan), model, PatchStore(content["store"]), getattr(torch, content["dtype"]))


def _encode_band(place: _Place, side: str, number: int) -> None:
    _open_job(place).encode_band(side, number)


def _score_block(place: _Place, row: int, column: int) -> int:
    """Score a block and return how many pairs it has."""
    job = _open_job(place)
    job.score_block(Block(row, column))
    return job.plan.count_pairs(Block(row, column))


@contextmanager
def connect(workers: int, scheduler: str | None) -> Iterator[Client]:
    """Open a client of the scheduler, or of `workers` processes on this machine, with a worker at the other end."""
    if scheduler is None:
        with LocalCluster(workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{scheduler}: no Dask scheduler answers ({error}). Start one with `dask scheduler`."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise InputError(
                f"{scheduler}: the scheduler has no worker after {_PATIENCE} s. Start one (`dask worker {scheduler}`) "
                "or wait for yours, then give the same command again."
            ) from error
        yield client


def require_worker(scheduler: str) -> None:
    """Raise `InputError` unless the scheduler answers and has a worker."""
    with connect(0, scheduler):
        pass


def run_on_dask(job: Job, workers: int, scheduler: str | None, progress: bool) -> None:
    """Do what is left of a screening on Dask workers."""
    with connect(workers, scheduler) as client:
        place = _leave_job(job)
        bands = [client.submit(_encode_band, place, *band, pure=False) for band in job.bands_left()]
        for future in tqdm(as_completed(bands), total=len(bands), desc="encode", unit="band", disable=not progress):
            future.result()
        left = job.blocks_left()
        bar = progress_bar(job, left, progress)
        for future in as_completed([client.submit(_score_block, place, *block, pure=False) for block in left]):
            bar.update(future.result())
        bar.close()
