"""What hiding patches and gradient checkpointing save: one pretraining step of v5, each setting in its own process.

A step at mask ratio 0 is the encoder on all patches, the same decoder, and the loss over all patches. Random patches of
proteins of human lengths. Writes benchmarks/results/pretraining.json and prints a table.
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import torch
from training import cpu_name

from ppi_lib.encoder import PRESETS, MAEEncoder
from ppi_lib.masked import MaskedAutoencoder
from ppi_lib.memory import keep_freed_memory
from ppi_lib.patches import PatchBatch, draw_masks
from ppi_lib.pretrain import SETTINGS
from ppi_lib.settings import resolve_precision

RESULT = Path(__file__).parent / "results" / "pretraining.json"


def make_batches(batches: int, proteins: int, ratio: float) -> list[PatchBatch]:
    """Random patches; lengths as human proteins have them (log-normal, median 465), those of like length together."""
    lengths = np.random.default_rng(0).lognormal(np.log(465), 0.7, batches * proteins).clip(64, 1502).astype(int)
    made = []
    for part in torch.from_numpy(np.sort(lengths)).split(proteins):
        counts = -(-part // 32)
        real = torch.arange(int(counts.max())) < counts[:, None]
        masked = torch.zeros_like(real)
        if ratio:
            masked[real] = draw_masks(counts, ratio, seed=0, epoch=0)
        made.append(PatchBatch(torch.randn(*real.shape, 960) * real[..., None], part, masked))
    return made


def loss_of(model: MaskedAutoencoder, batch: PatchBatch, dtype: torch.dtype) -> torch.Tensor:
    config = SETTINGS["v5"]
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        if batch.masked.any():
            return model.loss(*batch, config.visible_weight, config.summary_weight) / batch.masked.sum()
        real = torch.arange(batch.masked.shape[1]) * 32 < batch.lengths[:, None]
        error = model(*batch)[real].float() - model.target(batch.values[real])
        return (error.square() @ model.target_weight).mean()


def measure(setting: dict) -> dict:
    """Return the mean seconds of a step, its patches, and how far the process grew above model and optimiser."""
    torch.set_num_threads(setting["threads"])
    keep_freed_memory()
    config = SETTINGS["v5"]
    model = MaskedAutoencoder(MAEEncoder(PRESETS["v5"]), width=config.decoder_width, layers=config.decoder_layers)
    model.encoder.gradient_checkpointing = setting["checkpointing"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    dtype = resolve_precision(setting["precision"], torch.device("cpu"))
    batches = make_batches(setting["steps"], setting["batch_size"], setting["ratio"])
    for p in model.parameters():  # gradients and the optimiser's state are there in any case
        p.grad = torch.zeros_like(p)
    optimizer.step()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for batch in batches:
        loss_of(model, batch, dtype).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    seconds = (time.perf_counter() - began) / len(batches)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    seen = sum(int((-(-batch.lengths // 32)).sum() - batch.masked.sum()) for batch in batches)
    return {"seconds": seconds, "visible_patches": seen / len(batches), "memory_of_a_step_gb": grown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=SETTINGS["v5"].batch_size)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    settings = [(0.75, False), (0.0, False), (0.75, True), (0.0, True)]
    rows = []
    for ratio, checkpointing in settings:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (vars(options) | {"ratio": ratio, "checkpointing": checkpointing},))
        rows.append({"mask_ratio": ratio, "gradient_checkpointing": checkpointing, **found})
        print(
            f"mask ratio {ratio:.2f}  checkpointing {'on ' if checkpointing else 'off'}  {found['seconds']:6.2f} s  "
            f"{found['visible_patches']:5.0f} patches seen  {found['memory_of_a_step_gb']:5.2f} GB for a step"
        )
    share = rows[0]["seconds"] / rows[1]["seconds"]
    print(f"a step at mask ratio 0.75 costs {share:.2f} of one at 0")
    content = {
        "what": "one pretraining step of v5",
        "cpu": cpu_name(),
        "torch": torch.__version__,
        **vars(options),
        "precision": str(resolve_precision(options.precision, torch.device("cpu"))),
        "cost_of_ratio_075": share,
        "rows": rows,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
