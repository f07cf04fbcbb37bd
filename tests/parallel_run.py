"""What each process of `test_parallel.py` runs: trainings; the last line it prints is their result."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

import ppi_lib.files
import ppi_lib.tokens
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import MAEEncoder, ModelConfig
from ppi_lib.errors import InputError
from ppi_lib.loop import StopTraining
from ppi_lib.parallel import team
from ppi_lib.pretrain import PretrainConfig, pretrain_encoder
from ppi_lib.proteins import Pairs
from ppi_lib.store import PatchStore
from ppi_lib.train import TrainConfig, train_classifier

KINDS = ("frozen", "lora", "pretrain")
TINY = ModelConfig(
    width=32, layers=2, heads=4, feedforward=64, cross_heads=4, head_widths=(16, 8), embedding_width=960, dropout=0.0
)
CONFIG = TrainConfig(epochs=4, learning_rate=1e-2, batch_size=32, micro_batch=8, precision="float32")
PRETRAIN = PretrainConfig(
    epochs=4, learning_rate=3e-3, batch_size=7, micro_batch=3, decoder_width=16, precision="float32"
)


def read(path: Path):
    content = json.loads((path / "inputs.json").read_text())
    sets = [content["train"], content["validation"]]
    pairs = [
        Pairs(
            a=np.array(p["a"], dtype=object),
            b=np.array(p["b"], dtype=object),
            labels=np.array(p["labels"], dtype=np.float32),
            notes=(),
        )
        for p in sets
    ]
    return PatchStore(content["store"]), *pairs


def describe(model: torch.nn.Module, result, calls: list, encoded: list) -> dict:
    digest, norm = hashlib.sha256(), 0.0
    for value in model.state_dict().values():
        digest.update(value.detach().numpy().tobytes())
        norm += value.double().square().sum().item()
    return {
        "history": result.history.drop(columns="seconds").to_dict("list"),
        "stopped": result.stopped,
        "weights": digest.hexdigest(),
        "norm": norm**0.5,
        "callbacks": len(calls),
        "encoded": len(encoded),
    }


def train(kind: str, inputs: Path, out: Path, stop_after: int | None = None) -> dict:
    """Train in the folder `out`. Processes begin with different weights: those of the first one count."""
    store, *sets = read(inputs)
    calls, encoded, encode = [], [], ppi_lib.tokens._encode

    def note(progress) -> None:
        calls.append(progress)
        if stop_after == len(calls):
            raise StopTraining

    def noted(*arguments):
        encoded.append(1)
        return encode(*arguments)

    options = {"out": out, "callbacks": [note]}
    if kind == "pretrain":
        torch.manual_seed(team().rank)
        model = MAEEncoder(TINY)
        result = pretrain_encoder(model, store, store.ids, config=PRETRAIN, **options)
    else:
        lora = kind == "lora"
        model = create_ppi_classifier(config=TINY, freeze_encoder=not lora, use_lora=lora, seed=team().rank)
        ppi_lib.tokens._encode = encode if lora else noted
        result = train_classifier(model, store, *sets, CONFIG, progress=False, **options)
        ppi_lib.tokens._encode = encode
    return describe(model, result, calls, encoded)


def train_apart(inputs: Path, out: Path) -> str:
    """Let each process have a folder of its own, that of the second with a training in it; return the error."""
    if team().rank:
        shutil.copytree(out / "frozen", out / "1")
    try:
        train("frozen", inputs, out / str(team().rank))
    except InputError as error:
        return str(error)
    return "none"


def main(inputs: Path, out: Path) -> None:
    torch.set_num_threads(1)
    written, replace_file = [], ppi_lib.files.os.replace
    ppi_lib.files.os.replace = lambda *paths: written.append(paths) or replace_file(*paths)
    found = {kind: train(kind, inputs, out / kind) for kind in KINDS}
    found |= {name: train("frozen", inputs, out / "cut", stop) for name, stop in (("stopped", 10), ("resumed", None))}
    found |= {"written": bool(written), "apart": train_apart(inputs, out)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
