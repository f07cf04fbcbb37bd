"""All against all: pairs per second beside the machine's own matrix products and beside the plain form of the model.

Parts, each a process of its own that writes its section of benchmarks/results/screening.json:
- speed: 4096x768x3072 products before and after (the best of 60 is the peak, the median what is usual), screening end
  to end, and the plain forward: both proteins through the encoder for each pair, padded to all 48 tokens, keys and
  values projected for every token, 16 pairs a batch (faster than one at a time, which is given too);
- exactness: logits beside the plain form on random pairs (there each protein is encoded once, padded to 48 tokens, one
  at a time; all after the encoder is plain);
- growth: time and memory over the number of proteins;
- predict: a table of random pairs;
- large: 5,000 proteins, every one of the 12.5 million pairs kept, end to end, and its file read back; only when named
  (5 minutes on 2 cores with AMX).

v5, random sequences of human lengths. Weights are random with the inputs standardised as training does it, or those
of `--run`.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from training import cpu_name, make_pairs, make_proteins, padded, run_plainly

from ppi_lib import predict, screen
from ppi_lib.checkpoint import create_ppi_classifier, load_checkpoint
from ppi_lib.embed import embed_proteins
from ppi_lib.model import PPIClassifier
from ppi_lib.proteins import Pairs
from ppi_lib.store import PatchStore

RESULT = Path(__file__).parent / "results" / "screening.json"
PRECISIONS = ("float32", "bfloat16")


def make_model(store: PatchStore, run: str | None) -> PPIClassifier:
    if run is not None:
        return load_checkpoint(run).model
    model = create_ppi_classifier().eval()
    model.encoder.patch_embedding.set_standardisation(*store.moments(store.ids))
    return model


def gemm_rates(precision: str) -> list[float]:
    """FLOP/s of 30 products of the feed-forward's shape."""
    dtype = getattr(torch, precision)
    x, weight = torch.randn(4096, 768, dtype=dtype), torch.randn(3072, 768, dtype=dtype)
    out, rates = torch.empty(4096, 3072, dtype=dtype), []
    for _ in range(30):
        began = time.perf_counter()
        torch.mm(x, weight.T, out=out)
        rates.append(2 * 4096 * 768 * 3072 / (time.perf_counter() - began))
    return rates


def flop_per_pair(model: PPIClassifier, patches: float) -> float:
    """FLOP of the products that a pair needs, `patches` being those of both proteins; nothing else is counted."""
    c = model.config
    layers = c.cross_layers * 2 * c.width * c.feedforward
    first = 2 * c.cross_heads * c.width
    later = (c.cross_layers - 1) * (2 * c.width**2 + 2 * patches * c.width)
    widths = (c.width, *c.head_widths, 1)
    return 2 * (layers + first + later + sum(a * b for a, b in pairwise(widths)))


def timed(owner, name: str) -> list[float]:
    """Note how long each call of a function takes."""
    real, seconds = getattr(owner, name), []

    def call(*arguments, **options):
        began = time.perf_counter()
        result = real(*arguments, **options)
        seconds.append(time.perf_counter() - began)
        return result

    setattr(owner, name, call)
    return seconds


def peak_memory() -> float:
    """GB that this process held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM"))


def run_screening(model: PPIClassifier, store: PatchStore, count: int, precision: str, top_k: int | None = 50) -> dict:
    """Screen `count` proteins end to end, and say what each stage took."""
    encode, blocks, rank = (
        timed(*place) for place in ((screen.Job, "encode_band"), (screen.Job, "score_block"), (screen, "write_ranked"))
    )
    with tempfile.TemporaryDirectory() as folder:
        result = screen.screen(
            model, store, store.ids[:count], out=f"{folder}/s.parquet", top_k=top_k, precision=precision, progress=False
        )
        peak, file = peak_memory(), pq.ParquetFile(result.path)
        finite = all(np.isfinite(part["logit"]).all() for part in file.iter_batches(columns=["logit"]))
        written = {"rows": file.metadata.num_rows, "row_groups": file.num_row_groups, "all_finite": bool(finite)}
        written["gigabytes"] = result.path.stat().st_size / 1e9
    return {
        "proteins": count,
        "pairs": result.pairs,
        "seconds": result.seconds,
        "seconds_encoding": sum(encode),
        "seconds_scoring": sum(blocks),
        "seconds_ranking": sum(rank),
        "pairs_per_second": result.pairs / sum(blocks),
        "peak_memory_gb": peak,
        "written": written,
    }


def plain_rate(model: PPIClassifier, store: PatchStore, pairs: Pairs, size: int) -> float:
    """Pairs per second of the plain forward in float32, median of 4 batches."""
    rates, plain = [], run_plainly(model)
    with torch.inference_mode():
        for start in range(0, 5 * size, size):
            rows = slice(start, start + size)
            began = time.perf_counter()
            plain(padded(store, pairs.a[rows]), padded(store, pairs.b[rows]))
            rates.append(size / (time.perf_counter() - began))
    return float(np.median(rates[1:]))


def measure_plain(options: dict) -> dict:
    store = PatchStore(options["store"])
    pairs = make_pairs(store, 80, np.random.default_rng(1))
    return {f"batch of {size}": plain_rate(make_model(store, options["run"]), store, pairs, size) for size in (16, 1)}


def measure_speed(options: dict) -> dict:
    store = PatchStore(options["store"])
    model, precision, count = make_model(store, options["run"]), options["precision"], options["proteins"]
    products = gemm_rates(precision)
    found = run_screening(model, store, count, precision)
    products += gemm_rates(precision)
    peak, usual = max(products), float(np.median(products))
    patches = float(np.mean([-(-store.length(protein) // 32) for protein in store.ids[:count]]))
    flop = flop_per_pair(model, 2 * patches)
    rate = found["pairs_per_second"] * flop
    extra = {"mean_patches": patches, "mflop_per_pair": flop / 1e6, "gflops": rate / 1e9, "peak_gflops": peak / 1e9}
    extra |= {"usual_gemm_gflops": usual / 1e9, "fraction_of_usual_gemm": rate / usual}
    return {**found, **extra, "fraction_of_peak": rate / peak}


def measure_exactness(options: dict) -> dict:
    """Largest difference in the logit to the plain form, and the rank correlation."""
    from scipy.stats import spearmanr

    store = PatchStore(options["store"])
    ids = store.ids[: options["proteins"]]
    rows = np.array(ids, dtype=object)[np.random.default_rng(2).integers(0, len(ids), (options["pairs"], 2))]
    pairs = Pairs(a=rows[:, 0], b=rows[:, 1], labels=None, notes=())
    found = {
        precision: predict.predict_pairs(
            make_model(store, options["run"]), store, pairs, precision=precision, progress=False
        ).logits
        for precision in PRECISIONS
    }
    plain = plain_logits(make_model(store, options["run"]), store, pairs)
    return {"pairs": len(pairs), "deviation_of_the_logits": float(plain.std())} | {
        precision: {
            "largest_difference": float(np.abs(logits - plain).max()),
            "rank_correlation": float(spearmanr(logits, plain).statistic),
        }
        for precision, logits in found.items()
    }


def plain_logits(model: PPIClassifier, store: PatchStore, pairs: Pairs) -> np.ndarray:
    """Logits of the plain form, 64 pairs a batch."""
    plain, logits = run_plainly(model), []
    with torch.inference_mode():
        tokens = {p: plain._patch_tokens(padded(store, np.array([p])), None) for p in pairs.proteins}
        for start in range(0, len(pairs), 64):
            sides = ([tokens[p] for p in side[start : start + 64]] for side in (pairs.a, pairs.b))
            both = [[torch.cat(part) for part in zip(*side, strict=True)] for side in sides]
            x, mask = (torch.cat(part, dim=1) for part in zip(*both, strict=True))
            logits.append(plain.head(plain.interaction(x, mask).vector).squeeze(-1))
    return torch.cat(logits).double().numpy()


def measure_growth(options: dict) -> dict:
    store = PatchStore(options["store"])
    return run_screening(make_model(store, options["run"]), store, options["proteins"], "auto")


def measure_large(options: dict) -> dict:
    store = PatchStore(options["store"])
    return run_screening(make_model(store, options["run"]), store, options["proteins"], "auto", top_k=None)


def measure_predict(options: dict) -> dict:
    """Score a table of random pairs."""
    store = PatchStore(options["store"])
    pairs = make_pairs(store, options["pairs"], np.random.default_rng(3))
    encode, began = timed(predict, "encode_factors"), time.perf_counter()
    predict.predict_pairs(
        make_model(store, options["run"]), store, pairs, precision=options["precision"], progress=False
    )
    seconds = time.perf_counter() - began - sum(encode)
    return {
        "proteins": len(store),
        "pairs": len(pairs),
        "seconds_encoding": sum(encode),
        "pairs_per_second": len(pairs) / seconds,
        "peak_memory_gb": peak_memory(),
    }


def alone(measure, options: argparse.Namespace, store: str, **more) -> dict:
    """Measure in a process of its own, so that memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(measure, ({"run": options.run, "store": store, **more},))
    print(measure.__name__, more, json.dumps(found), flush=True)
    return found


def run_part(part: str, options: argparse.Namespace, store: str) -> dict | list:
    if part == "speed":
        plain = alone(measure_plain, options, store)
        found = {p: alone(measure_speed, options, store, proteins=options.proteins, precision=p) for p in PRECISIONS}
        for each in found.values():
            each["times_plain"] = each["pairs_per_second"] / plain["batch of 16"]
        return {"plain float32": plain, **found}
    if part == "exactness":
        return alone(measure_exactness, options, store, proteins=options.proteins, pairs=10_000)
    if part == "growth":
        return [alone(measure_growth, options, store, proteins=count) for count in options.growth]
    if part == "large":
        return alone(measure_large, options, store, proteins=options.large)
    return {p: alone(measure_predict, options, store, pairs=options.predict_pairs, precision=p) for p in PRECISIONS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["speed", "exactness", "growth", "predict"])
    parser.add_argument("--proteins", type=int, default=1000)
    parser.add_argument("--growth", type=int, nargs="+", default=[250, 500, 1000, 2000])
    parser.add_argument("--large", type=int, default=5000)
    parser.add_argument("--predict-pairs", type=int, default=1_000_000)
    parser.add_argument("--run")
    parser.add_argument("--store", help="folder that keeps the embeddings for a next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, most = options.store or folder, max(options.proteins, *options.growth)
        most = max(most, options.large) if "large" in options.parts else most
        embed_proteins(make_proteins(most, np.random.default_rng(0)), store, progress=False)
        for part in options.parts:
            content = json.loads(RESULT.read_text()) if RESULT.exists() else {}
            machine = {"cpu": cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__}
            weights = {"weights": "random" if options.run is None else "trained"}
            content[part] = {**machine, **weights, "result": run_part(part, options, store)}
            RESULT.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
