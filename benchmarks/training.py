"""Training pairs per second: `train_classifier` beside the same model run plainly, in one process.

Plain is what v5's first implementation does for every pair: both proteins through the frozen encoder each time,
padded to all 48 tokens, keys and values projected for each of them, 16 pairs a batch. Random sequences of human
lengths, random labels. Medians of several rounds. Writes benchmarks/results/training.json and prints a table.
"""

import argparse
import functools
import json
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.embed import embed_proteins
from ppi_lib.encoder import Patches
from ppi_lib.model import PPIClassifier
from ppi_lib.proteins import STANDARD, Pairs, Proteins
from ppi_lib.store import PatchStore
from ppi_lib.train import TrainConfig, train_classifier

RESULT = Path(__file__).parent / "results" / "training.json"


def make_proteins(count: int, generator: np.random.Generator) -> Proteins:
    """Random sequences with the lengths of human proteins: log-normal, median 465."""
    lengths = np.clip(generator.lognormal(np.log(465), 0.7, count), 51, 3000).astype(int)
    letters = np.array(list(STANDARD))
    return Proteins(sequences={f"P{i}": "".join(generator.choice(letters, n)) for i, n in enumerate(lengths)}, notes=())


def make_pairs(store: PatchStore, count: int, generator: np.random.Generator) -> Pairs:
    ids = np.array(store.ids, dtype=object)
    rows = generator.integers(0, len(ids), (count, 2))
    labels = (np.arange(count) % 2).astype(np.float32)
    return Pairs(a=ids[rows[:, 0]], b=ids[rows[:, 1]], labels=labels, notes=())


def padded(store: PatchStore, ids: np.ndarray) -> Patches:
    values, lengths = store.batch(list(ids))
    return Patches(nn.functional.pad(values, (0, 0, 0, 47 - values.shape[1])), lengths)


def run_plainly(model: PPIClassifier) -> PPIClassifier:
    """Let the cross-attention project keys and values for every token."""

    def forward(attention, query, groups):
        ((tokens, mask),) = groups
        context, weights = attention.plain(query.expand(len(tokens), -1), tokens, mask)
        return context, [weights]

    for layer in model.interaction.layers:
        layer.attention.forward = functools.partial(forward, layer.attention)
    return model


def plain_rate(model: PPIClassifier, store: PatchStore, pairs: Pairs, dtype: torch.dtype, batches: int) -> float:
    """Median pairs per second of plain training steps."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    rates = []
    model.train()
    for start in range(0, 16 * batches, 16):
        rows = slice(start, start + 16)
        a, b, labels = padded(store, pairs.a[rows]), padded(store, pairs.b[rows]), torch.from_numpy(pairs.labels[rows])
        began = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = model(a, b)
        nn.functional.binary_cross_entropy_with_logits(logits.float(), labels).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rates.append(16 / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def fast_rate(model: PPIClassifier, store: PatchStore, train: Pairs, validation: Pairs, precision: str) -> dict:
    """Median over epochs of pairs per second, and the seconds that go before the first step."""
    config = TrainConfig(epochs=3, precision=precision)
    began, first = time.perf_counter(), []

    def note_first_step(progress) -> None:
        if not first:
            first.append(time.perf_counter() - began)

    result = train_classifier(model, store, train, validation, config, callbacks=[note_first_step], progress=False)
    rates = (len(train) / result.history["seconds"]).tolist()
    return {"pairs_per_second": statistics.median(rates[1:]), "seconds_before_first_step": first[0]}


def measure(store: PatchStore, train: Pairs, validation: Pairs, batches: int) -> dict[str, float]:
    """One round: plain float32, ours in both precisions, plain bfloat16, one right after the other."""
    rates = {}
    for precision in ("float32", "bfloat16"):
        model = run_plainly(create_ppi_classifier())
        rates[f"plain {precision}"] = plain_rate(model, store, train, getattr(torch, precision), batches)
        fast = fast_rate(create_ppi_classifier(), store, train, validation, precision)
        rates[f"ppi_lib {precision}"] = fast["pairs_per_second"]
        rates[f"seconds before the first step {precision}"] = fast["seconds_before_first_step"]
    for name in [name for name in rates if name.startswith("p")]:
        rates[f"ratio {name}"] = rates[name] / rates["plain float32"]
    return rates


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proteins", type=int, default=600)
    parser.add_argument("--pairs", type=int, default=24_576)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain-batches", type=int, default=6)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = embed_proteins(make_proteins(options.proteins, generator), folder, progress=False)
        train, validation = (make_pairs(store, count, generator) for count in (options.pairs, 1024))
        rounds = [measure(store, train, validation, options.plain_batches) for _ in range(options.rounds)]
        patches = float(np.mean([-(-store.length(p) // 32) for p in store.ids]))
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    content = {
        "what": "frozen v5, pairs per second of training",
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "mean_patches": patches,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "medians": medians,
        "rounds": rounds,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content, indent=2) + "\n")
    print(f"{content['cpu']}, {content['threads']} threads, mean {patches:.1f} patches")
    for name in ("plain float32", "plain bfloat16", "ppi_lib float32", "ppi_lib bfloat16"):
        print(f"{name:17} {medians[name]:8.1f} pairs/s {medians['ratio ' + name]:6.0f} times plain float32")


if __name__ == "__main__":
    main()
