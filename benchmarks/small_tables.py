"""How `v5` learns from a small table, with the settings that were chosen on all of bernett and with those that suit it.

A small table has all pairs among proteins drawn at random from the training pairs. It is steered by pairs of some
validation proteins, a quarter as many, and tested on pairs of other validation proteins, none of them in the table. The
test split is not touched. The mean over the draws, and the standard deviation, is of the AUROC. Writes
benchmarks/results/small_tables.json and prints a table.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm
from training import cpu_name

from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.datasets import Dataset, load_dataset
from ppi_lib.embed import embed_proteins
from ppi_lib.encoder import PRESETS
from ppi_lib.predict import predict_pairs
from ppi_lib.proteins import Pairs, PairSplits
from ppi_lib.store import PatchStore
from ppi_lib.train import SETTINGS, TrainConfig, suited, train_classifier

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "small_tables.json"
TEST_PAIRS = 3000


def among(pairs: Pairs, proteins: np.ndarray, most: int) -> Pairs:
    """Return about `most` pairs: all among the first of `proteins`, as many of these as that takes."""
    rank = {protein: place for place, protein in enumerate(proteins)}
    last = np.array([max(rank.get(a, np.inf), rank.get(b, np.inf)) for a, b in zip(pairs.a, pairs.b, strict=True)])
    kept = np.argsort(last, kind="stable")[: min(most, np.isfinite(last).sum())]
    return pairs.take(np.sort(kept))


def draw(data: Dataset, count: int, seed: int) -> PairSplits:
    """Draw a small table, what steers it and what tests it."""
    rng = np.random.default_rng(seed)
    train = among(data.train, rng.permutation(data.train.proteins), count)
    unseen = rng.permutation(sorted({*data.validation.proteins} - {*train.proteins}))
    half = len(unseen) // 2
    steering = among(data.validation, unseen[:half], count // 4)
    return PairSplits(train, steering, among(data.validation, unseen[half:], TEST_PAIRS))


def score(store: PatchStore, splits: PairSplits, config: TrainConfig) -> float:
    """Train v5 and return the AUROC on the test pairs."""
    model = create_ppi_classifier(config=replace(PRESETS["v5"], embedding_width=store.info.width), seed=config.seed)
    train_classifier(model, store, splits.train, splits.validation, config, progress=False)
    return roc_auc_score(splits.test.labels, predict_pairs(model, store, splits.test, progress=False).logits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", default=["bernett", "b4ppi_yeast"])
    parser.add_argument("--pairs", type=int, nargs="+", default=[500, 2000, 8000])
    parser.add_argument("--draws", type=int, default=3)
    given = parser.parse_args()
    rows = []
    for name in given.datasets:
        data = load_dataset(name)
        store = embed_proteins(data.proteins, ROOT / "runs" / name / "store")
        for count, seed in tqdm([(count, seed) for count in given.pairs for seed in range(given.draws)], desc=name):
            splits = draw(data, count, seed)
            for settings, config in (("bernett's", SETTINGS["v5"]), ("suited", suited("v5", pairs=len(splits.train)))):
                auroc = score(store, splits, replace(config, seed=seed))
                about = {"batch_size": config.batch_size, "epochs": config.epochs, "auroc": auroc}
                rows.append({"dataset": name, "pairs": count, "draw": seed, "settings": settings, **about})
    table = pd.DataFrame(rows)
    machine = {"cpu": cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    RESULT.write_text(json.dumps({**machine, "rows": rows}, indent=2) + "\n")
    keys = ["dataset", "pairs", "settings", "batch_size", "epochs"]
    print(table.groupby(keys, sort=False)["auroc"].agg(["mean", "std"]).round(3).reset_index().to_string(index=False))


if __name__ == "__main__":
    main()
