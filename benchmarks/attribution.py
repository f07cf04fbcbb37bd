"""Explaining many pairs with the full v5: seconds of integrated gradients at 64 steps, the encoder's output kept.

Random patches of proteins of human lengths and random weights: the arithmetic is that of a trained model. Each setting
runs in its own process, so that peak memory is its own. Writes benchmarks/results/attribution.json and prints a table.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from training import cpu_name

from ppi_lib.attribute import explain_pairs, explain_weights
from ppi_lib.attribution import AttributionConfig
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter
from ppi_lib.tokens import encode_proteins

RESULT = Path(__file__).parent / "results" / "attribution.json"


def make_store(folder: str, proteins: int) -> PatchStore:
    """Random patches; lengths as human proteins have them (log-normal, median 465, at most 1,502)."""
    generator = np.random.default_rng(0)
    lengths = generator.lognormal(np.log(465), 0.7, proteins).clip(64, 1502).astype(int)
    with StoreWriter(folder, StoreInfo("random", "1", 960)) as writer:
        for number, length in enumerate(lengths.tolist()):
            writer.add(f"P{number}", generator.standard_normal((-(-length // 32), 960)), length, "")
    return PatchStore(folder)


def measure(setting: dict) -> dict:
    """Return the seconds for all pairs, the worst error of the sums, and how far the process grew."""
    torch.set_num_threads(setting["threads"])
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(folder, 2 * setting["pairs"])
        pairs = list(zip(store.ids[::2], store.ids[1::2], strict=True))
        model = create_ppi_classifier().eval()
        model.encoder.patch_embedding.set_standardisation(*store.moments(store.ids))
        table = encode_proteins(model, store, store.ids, progress=False)
        config = AttributionConfig(steps=setting["steps"], batch_patches=setting["batch_patches"])
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        if setting["what"] == "weights":
            found = explain_weights(model, store, pairs, config=config, table=table)
        else:
            found = explain_pairs(model, store, pairs, setting["what"], config=config, table=table)
        seconds = time.perf_counter() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    error = max(abs(one.error / (one.logit - one.baseline_logit)) for one in found)
    return {"seconds": seconds, "memory_gb": grown, "worst_error_of_sum": error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    settings = [(what, batch) for what in ("weights", "integrated_tokens", "shapley_tokens") for batch in (512, 2048)]
    rows = []
    for what, batch in settings:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (vars(options) | {"what": what, "batch_patches": batch},))
        rows.append({"attributed_to": what, "batch_patches": batch, **found})
        print(
            f"{what:18} batch_patches {batch:5}  {found['seconds']:7.1f} s  {found['memory_gb']:5.2f} GB above "
            f"model and tokens  sums off by at most {found['worst_error_of_sum']:.1e}"
        )
    content = {
        "what": "explaining pairs with v5, tokens kept",
        "cpu": cpu_name(),
        "torch": torch.__version__,
        **vars(options),
        "rows": rows,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
