"""Whether an attribution is true: the planted sites of `demo`, and what hiding the highest patches costs.

`v3` is trained on demo, and once more on permuted labels. Of the test pairs that interact and that the first calls so,
some are drawn and explained by the default method: by the trained model, by one of random weights, and by the one of
permuted labels. Each is held against the planted sites, beside sites of the same lengths at random places. On fewer of
these pairs the scorecard compares what hiding the highest tenth of the patches costs the trained model's logit with as
many at random. Intervals (95%) draw proteins. Writes benchmarks/results/truth.json and prints a table.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from training import cpu_name

from ppi_lib.attribute import explain_pairs
from ppi_lib.attribution import DEFAULT_METHOD
from ppi_lib.datasets import Dataset, load_dataset
from ppi_lib.embed import embed_proteins
from ppi_lib.model import PPIClassifier
from ppi_lib.predict import predict_pairs
from ppi_lib.scorecard import randomised, score_methods, summarise
from ppi_lib.store import PatchStore
from ppi_lib.train import find_or_train
from ppi_lib.truth import find_sites

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "truth.json"
MEASURES = ("hit", "hit_null", "auroc", "auroc_null", "enrichment")


def train(data: Dataset, store: PatchStore, out: Path):
    return find_or_train(store, data.train, data.validation, size="v3", out=out, progress=False).checkpoint


def permute_labels(data: Dataset) -> Dataset:
    generator = np.random.default_rng(0)
    pairs = {name: getattr(data, name) for name in ("train", "validation")}
    return replace(data, **{n: replace(p, labels=generator.permutation(p.labels)) for n, p in pairs.items()})


def draw_pairs(checkpoint, store: PatchStore, data: Dataset, count: int) -> list[tuple[str, str]]:
    """Return test pairs that interact and are called so."""
    called = predict_pairs(checkpoint.model, store, data.test, progress=False).probabilities >= checkpoint.threshold
    right = np.flatnonzero(called & (data.test.labels == 1))
    return [(data.test.a[i], data.test.b[i]) for i in np.random.default_rng(0).permutation(right)[:count]]


def hold_against_sites(model: PPIClassifier, store: PatchStore, data: Dataset, pairs) -> pd.DataFrame:
    """Return `value`, `low` and `high` of each of `MEASURES`."""
    return summarise(find_sites(explain_pairs(model, store, pairs), data.sites), MEASURES)


def hide_patches(model: PPIClassifier, store: PatchStore, pairs) -> pd.DataFrame:
    """Return the same of what the logit loses without the highest tenth of the patches, over a random tenth."""
    card = score_methods(model, store, pairs, [DEFAULT_METHOD], progress=False).table
    return card[(card["method"] == DEFAULT_METHOD) & (card["measure"] == "comprehensiveness_ratio")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--removed", type=int, default=60, help="of these pairs, for what hiding patches costs")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "truth")
    options = parser.parse_args()
    data = load_dataset("demo")
    store = embed_proteins(data.proteins, options.out / "store", progress=False)
    checkpoint = train(data, store, options.out / "model")
    pairs = draw_pairs(checkpoint, store, data, options.pairs)
    models = {
        "trained": checkpoint.model,
        "random weights": randomised(checkpoint.model),
        "permuted labels": train(permute_labels(data), store, options.out / "permuted").model,
    }
    parts = {name: hold_against_sites(model, store, data, pairs) for name, model in models.items()}
    parts["trained"] = pd.concat([parts["trained"], hide_patches(checkpoint.model, store, pairs[: options.removed])])
    table = pd.concat(parts, names=["model", None]).reset_index("model")
    content = {
        "what": f"{DEFAULT_METHOD} of v3 on {len(pairs)} test pairs of demo, {options.removed} for what hiding costs",
        "cpu": cpu_name(),
        "torch": torch.__version__,
        "rows": table.to_dict("records"),
    }
    RESULT.write_text(json.dumps(content, indent=2) + "\n")
    print(content["what"])
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
