"""All speeds in one run: each of ppi_lib's ways beside the plain form of the same model, and beside the machine's own
matrix products.

Embedding, encoding, training, one pair, a table of pairs and all against all, v5, random sequences of human lengths;
then all against all of 250 to 2,000 proteins. Every number comes from a process of its own, which also times
4096x768x3072 products before and after it: the peak is the fastest of the whole run. FLOP are those of matrix products
alone, as torch counts them (`flop_registry`), or for all against all by formula (`screening.flop_per_pair`). Plain
is: embedding by all residue rows, one pass of the encoder for each protein of each pair padded to all 48 tokens,
keys and values projected for every token, in float32.

Writes benchmarks/results/speed.json; `summary.py` makes the table and the figure of it. 12 to 25 minutes on 2 cores;
`--quick` is for trying it out (2 minutes) and writes nothing unless told where.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import screening
import torch
from screening import PRECISIONS, alone, gemm_rates, make_model, peak_memory
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from training import cpu_name, fast_rate, make_pairs, make_proteins, padded, plain_rate, run_plainly

from ppi_lib import __version__
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.embed import embed_proteins
from ppi_lib.encoder import pool_residues
from ppi_lib.pair_task import PairTask
from ppi_lib.predict import predict_pairs
from ppi_lib.profile import profile_patches, profile_residues
from ppi_lib.store import PatchStore
from ppi_lib.tokens import encode_proteins
from ppi_lib.train import TrainConfig

RESULT = Path(__file__).parent / "results" / "speed.json"


def best_rate(act, items: int, times: int = 3) -> float:
    """Items per second, the median of several goes."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    return items / float(np.median(seconds))


class _Counter(TorchDispatchMode):
    """Adds up the FLOP of matrix products; torch's own `FlopCounterMode` fails in inference mode."""

    total = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        count = flop_registry.get(function._overloadpacket)
        if count is None and (result := self._take_apart(function, arguments, options or {})) is not NotImplemented:
            return result
        result = function(*arguments, **(options or {}))
        self.total += 0 if count is None else count(*arguments, **(options or {}), out_val=result)
        return result

    def _take_apart(self, function, arguments, options):
        with self:
            return function.decompose(*arguments, **options)


def count_flop(act) -> float:
    with _Counter() as counter:
        act()
    return float(counter.total)


def measure_embedding(o: dict) -> dict:
    sequences = list(make_proteins(o["count"], np.random.default_rng(5)).sequences.values())
    if o["form"] == "plain":
        acts = [lambda s=s: pool_residues(torch.from_numpy(profile_residues(s[:1502]))[None]) for s in sequences]
    else:
        acts = [lambda s=s: profile_patches(s[:1502]) for s in sequences]
    return {"unit": "proteins", "per_second": best_rate(lambda: [act() for act in acts], len(acts)), "flop": None}


def measure_encoding(o: dict) -> dict:
    store, count, dtype = PatchStore(o["store"]), o["count"], getattr(torch, o["precision"])
    model, ids = make_model(store, o["run"]), store.ids[: o["count"]]

    def plain() -> None:
        with torch.inference_mode():
            for start in range(0, count, 16):
                model.encoder(*padded(store, np.array(ids[start : start + 16], dtype=object)))

    def ours() -> None:
        encode_proteins(model, store, ids, dtype=dtype, progress=False)

    act = plain if o["form"] == "plain" else ours
    return {"unit": "proteins", "per_second": best_rate(act, count, 2), "flop": count_flop(act) / count}


def measure_training(o: dict) -> dict:
    store, generator = PatchStore(o["store"]), np.random.default_rng(6)
    train, validation = (make_pairs(store, count, generator) for count in (o["count"], 512))
    if o["form"] == "plain":
        model = run_plainly(create_ppi_classifier())
        rate = plain_rate(model, store, train, torch.float32, 5)
        rows = np.arange(4)

        def act() -> None:
            model(padded(store, train.a[rows]), padded(store, train.b[rows])).sum().backward()

        return {"unit": "pairs", "per_second": rate, "flop": count_flop(act) / len(rows)}
    found = fast_rate(create_ppi_classifier(), store, train, validation, o["precision"])
    model = create_ppi_classifier()
    few = train.take(np.arange(256))
    table = encode_proteins(model, store, [*few.proteins, *validation.proteins], progress=False)
    task = PairTask(model, store, few, validation, TrainConfig(), table)
    (batch,) = next(iter(task.batches(1)))
    flop = count_flop(lambda: task.loss(batch).backward()) / 256
    return {"unit": "pairs", "per_second": found["pairs_per_second"], "flop": flop}


def measure_one_pair(o: dict) -> dict:
    """A pair whose proteins nobody has encoded yet, alone."""
    store = PatchStore(o["store"])
    model, pairs = make_model(store, o["run"]), make_pairs(store, 8, np.random.default_rng(7))
    if o["form"] == "plain":
        run_plainly(model)

    def act() -> None:
        for row in range(len(pairs)):
            pair = pairs.take(np.array([row]))
            if o["form"] == "plain":
                with torch.inference_mode():
                    model(padded(store, pair.a), padded(store, pair.b))
            else:
                predict_pairs(model, store, pair, precision=o["precision"], progress=False)

    return {"unit": "pairs", "per_second": best_rate(act, len(pairs)), "flop": count_flop(act) / len(pairs)}


def measure_screening(o: dict) -> dict:
    store = PatchStore(o["store"])
    model, count = make_model(store, o["run"]), o["count"]
    patches = float(np.mean([-(-store.length(protein) // 32) for protein in store.ids[:count]]))
    if o["form"] == "plain":
        pairs = make_pairs(store, 80, np.random.default_rng(1))
        rows = np.arange(4)
        rate = screening.plain_rate(model, store, pairs, 16)

        def act() -> None:
            with torch.no_grad():
                model(padded(store, pairs.a[rows]), padded(store, pairs.b[rows]))

        return {"unit": "pairs", "per_second": rate, "flop": count_flop(act) / len(rows), "mean_patches": patches}
    found = screening.run_screening(model, store, count, o["precision"])
    rate, flop = found["pairs_per_second"], screening.flop_per_pair(model, 2 * patches)
    return {"unit": "pairs", "per_second": rate, "flop": flop, "mean_patches": patches, "end_to_end": found}


def measure_table(o: dict) -> dict:
    """A table of random pairs; the rate is that after encoding."""
    found = screening.measure_predict({**o, "pairs": o["count"]})
    return {"unit": "pairs", "per_second": found["pairs_per_second"], "flop": None, "table": found}


MEASURES = {
    "embedding (profile)": measure_embedding,
    "encoding": measure_encoding,
    "training": measure_training,
    "one pair": measure_one_pair,
    "a table of pairs": measure_table,
    "all against all": measure_screening,
}


def measure(options: dict) -> dict:
    """Measure one form of one work between two looks at the machine's own products."""
    products = {precision: gemm_rates(precision) for precision in PRECISIONS}
    found = MEASURES[options["work"]](options)
    memory = peak_memory()
    for precision in PRECISIONS:
        products[precision] += gemm_rates(precision)
    about = {name: options[name] for name in ("work", "form", "precision", "count")}
    gemm = {precision: {"best": max(rates), "median": float(np.median(rates))} for precision, rates in products.items()}
    return {**about, **found, "peak_memory_gb": memory, "gemm": gemm}


def finish(rows: list[dict]) -> dict[str, float]:
    """Add FLOP/s, the fraction of the run's fastest product and the factor over the plain form; return the peaks."""
    peaks = {p: max(row["gemm"][p]["best"] for row in rows) for p in PRECISIONS}
    plain = {row["work"]: row["per_second"] for row in rows if row["form"] == "plain"}
    plain["a table of pairs"] = plain["all against all"]
    for row in rows:
        row["gflops"] = row["flop"] and row["per_second"] * row["flop"] / 1e9
        row["fraction_of_peak"] = row["flop"] and row["per_second"] * row["flop"] / peaks[row["precision"]]
        row["times_plain"] = row["per_second"] / plain[row["work"]]
    return {precision: peak / 1e9 for precision, peak in peaks.items()}


def describe_machine() -> dict:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {"ppi_lib": __version__, "torch": torch.__version__, "python": platform.python_version()}
    capability = torch.backends.cpu.get_cpu_capability()
    machine = {"cpu": cpu_name(), "capability": capability, "cores": os.cpu_count(), "memory_gb": round(memory, 1)}
    return {**machine, "threads": torch.get_num_threads(), "system": platform.platform(), "versions": versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--out", type=Path, help="file to write")
    parser.add_argument("--run", help="folder of a trained run, in place of random weights")
    options = parser.parse_args()
    q = options.quick
    counts = (40, 32, 256, 8, 2_000, 60) if q else (200, 160, 16_384, 8, 1_000_000, 1000)
    growth, exact = ((60, 120), 200) if q else ((250, 500, 1000, 2000), 10_000)
    out = options.out or (None if q else RESULT)
    began, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as store:
        embed_proteins(make_proteins(max(*growth, counts[-1]), np.random.default_rng(0)), store, progress=False)
        for work, count in zip(MEASURES, counts, strict=True):
            forms = [("plain", "float32"), ("ppi_lib", "float32"), ("ppi_lib", "bfloat16")]
            forms = {"embedding (profile)": forms[:2], "a table of pairs": forms[1:]}.get(work, forms)
            for form, precision in forms:
                rows.append(alone(measure, options, store, work=work, form=form, precision=precision, count=count))
        grown = [alone(screening.measure_growth, options, store, proteins=n) for n in growth]
        exactness = alone(screening.measure_exactness, options, store, proteins=counts[-1], pairs=exact)
    content = {"machine": describe_machine(), "weights": "random" if options.run is None else "trained"}
    content |= {"gemm_peak_gflops": finish(rows), "rows": rows, "growth": grown, "exactness": exactness}
    content |= {"minutes": (time.monotonic() - began) / 60}
    print(f"{content['minutes']:.1f} min", flush=True)
    if out is not None:
        out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
