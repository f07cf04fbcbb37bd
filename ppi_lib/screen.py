"""All against all: every pair of a set of proteins, or of two sets, scored and kept as asked.

A protein is encoded once; its factors lie in a file of its band. Then block after block is scored from two of those
files, and what is kept of it written; at the end all is ranked into one Parquet table. Each of these steps writes its
file whole or not at all, in a folder beside the output. A screening that was stopped goes on with what is not there
yet, in this process or on Dask workers (`cluster.py`).

Memory is bounded by two bands of factors and one block of logits, not by the number of pairs.
"""

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm.auto import tqdm

from ppi_lib import __version__
from ppi_lib.blocks import Block, Plan, keep, part_path, score_block, write_part
from ppi_lib.calibrate import Calibration
from ppi_lib.errors import InputError
from ppi_lib.factors import Factors, encode_factors, load_factors, save_factors
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.memory import keep_freed_memory
from ppi_lib.model import PPIClassifier
from ppi_lib.ranking import write_ranked
from ppi_lib.scorer import PairScorer
from ppi_lib.settings import check_precision, resolve_precision
from ppi_lib.store import PatchStore
from ppi_lib.tokens import encoder_fingerprint, require_store

_BAND = 512


class Screening(NamedTuple):
    """What a screening did."""

    path: Path
    """Parquet file of the pairs that were kept (columns: `ranking.write_ranked`)."""
    provenance: dict
    """Where it comes from; it stands in the metadata of the Parquet file and in a JSON file beside it too."""
    pairs: int
    """Pairs that were scored, in this run or before it was stopped."""
    kept: int
    """Pairs in the file."""
    seconds: float
    """Wall time of this run."""


class Job:
    """One screening: its folder and what its steps need."""

    def __init__(self, folder: Path, plan: Plan, model: PPIClassifier, store: PatchStore, dtype: torch.dtype):
        self.folder, self.plan, self.model, self.store, self.dtype = folder, plan, model, store, dtype
        self._held: dict[tuple[str, int], Factors] = {}

    @cached_property
    def scorer(self) -> PairScorer:
        return PairScorer(self.model, self.dtype)

    def factors_path(self, side: str, number: int) -> Path:
        return self.folder / f"factors-{'a' if self.plan.within else side}-{number:06d}.safetensors"

    def bands_left(self) -> list[tuple[str, int]]:
        """Return the bands whose factors are not there yet."""
        sides = "a" if self.plan.within else "ab"
        bands = [(side, number) for side in sides for number in range(self.plan.bands(side))]
        return [band for band in bands if not self.factors_path(*band).exists()]

    def blocks_left(self) -> list[Block]:
        """Return the blocks that are not there yet."""
        return [block for block in self.plan.blocks() if not part_path(self.folder, block).exists()]

    def encode_band(self, side: str, number: int) -> None:
        """Encode the proteins of a band and write their factors."""
        proteins = self.plan.band_of(side, number)
        factors = encode_factors(self.model, self.store, proteins, self.dtype, progress=False)
        save_factors(factors, self.factors_path(side, number))

    def score_block(self, block: Block) -> None:
        """Score a block and write what is kept of it."""
        a, b = (self._factors(side, number) for side, number in zip("ab", block, strict=True))
        logits = score_block(self.scorer, a, b, self.plan.pairs_of(block))
        write_part(self.folder, block, keep(self.plan, block, logits))

    def _factors(self, side: str, number: int) -> Factors:
        """Read a band's factors, or those that the last block of the same row read."""
        key = (side, number)
        if key not in self._held:
            self._held = {k: v for k, v in self._held.items() if k[0] != side}
            self._held[key] = load_factors(self.factors_path(*key), self.scorer.device)
        return self._held[key]


def screen(
    model: PPIClassifier,
    store: PatchStore,
    proteins_a: Sequence[str] | None = None,
    proteins_b: Sequence[str] | None = None,
    *,
    out: str | Path,
    top_k: int | None = None,
    threshold: float | None = None,
    self_pairs: bool = False,
    calibration: Calibration = Calibration(),
    prevalence: float | None = None,
    precision: str = "auto",
    workers: int = 0,
    scheduler: str | None = None,
    band: int = _BAND,
    progress: bool = True,
) -> Screening:
    """Score all pairs within `proteins_a` (all of the store without it), or of `proteins_a` with `proteins_b`.

    Kept are the `top_k` best partners of each protein (between two sets: of each of `proteins_a`), or the pairs whose
    probability is at least `threshold`, or all. A protein is paired with itself only with `self_pairs`. Within one
    set each unordered pair is scored once, and stands once in `out`. Probabilities are those of `calibration` (a
    checkpoint's; without it the sigmoid of the logit) where `prevalence` of the pairs interact. The model's device
    is used; `precision` is `float32`, `bfloat16` or `auto` (`settings.resolve_precision`). With `workers` (processes of
    this machine) or `scheduler` (the address of a Dask scheduler whose workers see the same folders) the blocks are
    done by Dask.

    Called again with the same arguments, a screening that was stopped goes on.
    """
    check_means(precision, workers)
    if band < 1:
        raise InputError(f"band is {band}; expected at least 1 protein.")
    dtype = resolve_precision(precision, next(model.parameters()).device)
    wanted = {"top_k": top_k, "threshold": threshold, "self_pairs": self_pairs}
    wanted |= {"calibration": calibration, "prevalence": prevalence, "band": band}
    plan = _make_plan(store, proteins_a, proteins_b, **wanted)
    out, start = check_out(out), time.monotonic()
    require_store(model.config, store, [*plan.proteins_a, *(plan.proteins_b or ())])
    provenance = _provenance(model, store, plan, dtype)
    folder = out.with_name(out.name + ".parts")
    if not out.exists():
        _open_folder(folder, provenance)
        job = Job(folder, plan, model, store, dtype)
        if workers or scheduler is not None:
            from ppi_lib.cluster import run_on_dask

            run_on_dask(job, workers, scheduler, progress)
        else:
            _run_here(job, progress)
        write_ranked(folder, plan, provenance, out)
    _require_same(_read_provenance(out), provenance, out, "was written")
    note = json.dumps(provenance, indent=2)
    write_atomically(out.with_name(out.name + ".json"), lambda path: path.write_text(note))
    shutil.rmtree(folder, ignore_errors=True)
    return Screening(out, provenance, plan.pairs, pq.read_metadata(out).num_rows, time.monotonic() - start)


def _make_plan(store, proteins_a, proteins_b, *, top_k, threshold, self_pairs, band, **given) -> Plan:
    """Check what is asked for, before any long work."""
    a = tuple(store.ids if proteins_a is None else proteins_a)
    b = None if proteins_b is None else tuple(proteins_b)
    store.require([*a, *(b or ())])
    check_request(a, b, top_k=top_k, threshold=threshold, self_pairs=self_pairs, **given)
    return Plan(  # proteins of like length side by side: less padding
        proteins_a=_by_length(store, a),
        proteins_b=None if b is None else _by_length(store, b),
        self_pairs=self_pairs,
        top_k=None if top_k is None else int(top_k),
        threshold=None if threshold is None else float(threshold),
        band=int(band),
        **given,
    )


def check_request(
    a: Sequence[str],
    b: Sequence[str] | None = None,
    *,
    top_k: int | None = None,
    threshold: float | None = None,
    self_pairs: bool = False,
    calibration: Calibration = Calibration(),
    prevalence: float | None = None,
) -> None:
    """Raise `InputError` if something is wrong with what `screen` is asked for; no embedding is needed to say so."""
    calibration.probabilities(np.zeros(1), prevalence=prevalence)  # says what is wrong with a prevalence
    for name, proteins in (("proteins_a", a), ("proteins_b", a if b is None else b)):
        if not proteins or len(set(proteins)) < len(proteins):
            raise InputError(
                f"{name} has {len(proteins)} proteins, {len(set(proteins))} of them different; expected at least one, "
                "and each once."
            )
    if top_k is not None and threshold is not None:
        raise InputError(f"top_k={top_k} and threshold={threshold} ask for two things. Pass one of them.")
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold}; expected a probability above 0 and below 1. Without it all stay.")
    most = len(b or a) - (not self_pairs and set(a) <= set(b or a))
    if most == 0:
        raise InputError(f"{a[0]} alone makes no pair. Give at least two proteins, or self_pairs.")
    if top_k is not None and not 1 <= top_k <= most:
        raise InputError(f"top_k is {top_k}; expected 1 to {most}, the partners that a protein has here.")


def check_means(precision: str, workers: int) -> None:
    """Raise `InputError` if something is wrong with how it is to be done; again, no embedding is needed."""
    check_precision(precision)
    if workers < 0:
        raise InputError(f"workers is {workers}; expected 0 (this process) or more.")


def _by_length(store: PatchStore, proteins: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(proteins, key=lambda protein: (store.length(protein), protein)))


def check_out(out: str | Path) -> Path:
    """Return the file to write, or say what is wrong with it."""
    out = Path(out)
    if out.suffix != ".parquet":
        raise InputError(f"{out}: ends with {out.suffix!r}; a screening writes .parquet.")
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist. Make it first.")
    if out.exists():
        _read_provenance(out)
    return out


def _digest(names: Sequence[str] | None) -> str | None:
    return None if names is None else hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _provenance(model: PPIClassifier, store: PatchStore, plan: Plan, dtype: torch.dtype) -> dict:
    """Return what a result depends on (`of`; it must be the same to go on) and what made it."""
    settings = asdict(plan) | {name: _digest(getattr(plan, name)) for name in ("proteins_a", "proteins_b")}
    settings["calibration"] = f"{plan.calibration.method} {_digest([repr(plan.calibration)])}"
    of = {
        "model": encoder_fingerprint(model),
        "store": store.fingerprint({*plan.proteins_a, *(plan.proteins_b or ())}),
        "precision": str(dtype).removeprefix("torch."),
        **settings,
    }
    device = next(model.parameters()).device
    by = {
        "ppi_lib": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "embedder": store.info._asdict(),
        "pairs": plan.pairs,
        "counts": {"proteins_a": len(plan.proteins_a), "proteins_b": len(plan.proteins_b or ())},
    }
    return {"of": of, "by": by}


def _read_provenance(out: Path) -> dict:
    try:
        return json.loads(pq.read_schema(out).metadata[b"ppi_lib"])
    except (OSError, pa.ArrowInvalid, TypeError, KeyError, ValueError) as error:
        raise InputError(f"{out}: is there and was not written by a screening. Choose another file.") from error


def _require_same(found: dict, wanted: dict, path: Path, how: str) -> None:
    """Refuse to go on with, or to take for done, what another model or other settings made."""
    wrong = [name for name in wanted["of"] if found["of"].get(name) != wanted["of"][name]]
    if wrong:
        parts = (f"{name} {found['of'].get(name)} (now {wanted['of'][name]})" for name in wrong)
        raise InputError(f"{path}: {how} with another {', '.join(parts)}. Choose another file, or delete that.")


def _open_folder(folder: Path, provenance: dict) -> None:
    """Make the folder of the parts, or go on with the one that is there."""
    path = make_folder(folder) / "provenance.json"
    if path.exists():
        _require_same(json.loads(path.read_text()), provenance, folder, "holds an unfinished screening")
    elif any(folder.iterdir()):
        raise InputError(f"{folder}: is there and holds no screening. Choose another output, or delete it.")
    write_atomically(path, lambda target: target.write_text(json.dumps(provenance)))


def _run_here(job: Job, progress: bool) -> None:
    """Do what is left, one step after the other, in this process."""
    keep_freed_memory()
    for side, number in tqdm(job.bands_left(), desc="encode", unit="band", disable=not progress):
        job.encode_band(side, number)
    left = job.blocks_left()
    bar = progress_bar(job, left, progress)
    for block in left:
        job.score_block(block)
        bar.update(job.plan.count_pairs(block))
    bar.close()


def progress_bar(job: Job, left: Sequence[Block], progress: bool) -> tqdm:
    """Return a bar over all pairs, with those of the blocks that are done already behind it."""
    todo = sum(job.plan.count_pairs(block) for block in left)
    total = job.plan.pairs
    return tqdm(total=total, initial=total - todo, desc="screen", unit="pair", unit_scale=True, disable=not progress)
