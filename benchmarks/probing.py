"""What linear models find in the mean tokens of v5's encoder: at random weights, and pretrained.

Two questions, with the encoders that `benchmarks/bernett.py` left. Which pairs of bernett's validation split interact;
and how many positive partners a protein has (the log of one more): asked of bernett's validation proteins after its
training proteins, and in yeast, of which pretraining saw nothing, of each fifth of the proteins after the others,
relatives (40% identity over half of the shorter one) together. Beside the values of each seed stand the differences,
pretrained less random, with 95% intervals: for pairs, of the seeds' mean AUROC, and proteins are drawn; for partners,
of the seeds' mean rank correlation, and whole clusters of relatives are drawn.

    python benchmarks/bernett.py --out runs/bernett_table
    python benchmarks/probing.py runs/bernett_table

Writes benchmarks/results/probing.json and prints a table.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from bernett import WAYS
from scipy.stats import spearmanr
from tqdm.auto import tqdm
from training import cpu_name

from ppi_lib.checkpoint import load_checkpoint
from ppi_lib.datasets import Dataset, load_dataset
from ppi_lib.degree import count_partners
from ppi_lib.embed import embed_proteins
from ppi_lib.evaluate import bootstrap_difference
from ppi_lib.homology import cluster_proteins
from ppi_lib.probe import PairProbe, PropertyProbe, cross_probe_property, mean_tokens, probe_pairs, probe_property
from ppi_lib.proteins import Pairs
from ppi_lib.store import PatchStore

RESULT = Path(__file__).parent / "results" / "probing.json"


class Task(NamedTuple):
    """A dataset, the patches of its proteins, their partners, and which of them are relatives."""

    data: Dataset
    store: PatchStore
    partners: list[dict[str, float]]
    """Of each protein of training and of validation, or of all in one: the log of one more than its positive ones."""
    clusters: pd.Series
    """Of the proteins that are asked for."""


class Probes(NamedTuple):
    """What linear models find in one encoder."""

    pairs: PairProbe
    partners: PropertyProbe
    yeast_partners: PropertyProbe


def load_task(name: str, store: Path, parts: Sequence[Sequence[str]]) -> Task:
    """Load a dataset; `parts` are the splits of which partners are counted together."""
    data = load_dataset(name)
    partners = []
    for splits in parts:
        counts = pd.concat([count_partners(getattr(data, split)).positives for split in splits])
        partners.append(np.log1p(counts.groupby(level=0).sum()).to_dict())
    clusters = cluster_proteins(data.proteins.take(list(partners[-1])).sequences)
    return Task(data, embed_proteins(data.proteins, store), partners, clusters)


def probe_encoder(model, human: Task, yeast: Task) -> Probes:
    own = mean_tokens(model, human.store, [protein for part in human.partners for protein in part])
    other = mean_tokens(model, yeast.store, yeast.partners[0])
    return Probes(
        probe_pairs(own, human.data.train, human.data.validation),
        probe_property(own, *human.partners),
        cross_probe_property(other, yeast.partners[0], yeast.clusters),
    )


def property_difference(task: Task, ways: Sequence[Sequence[PropertyProbe]], draws: int) -> tuple[float, float, float]:
    """Return the mean rank correlation of the second way less that of the first, and its interval over clusters."""
    values = task.partners[-1]
    truth, of = np.array(list(values.values())), pd.factorize(task.clusters.loc[list(values)])[0]
    number, rng, found = of.max() + 1, np.random.default_rng(0), []
    for draw in tqdm(range(draws + 1), desc="draw"):
        often = np.bincount(rng.integers(0, number, number), minlength=number)[of] if draw else np.ones(len(of), int)
        rows = np.repeat(np.arange(len(of)), often)
        first, second = (
            np.mean([spearmanr(truth[rows], one.predicted[rows]).statistic for one in way]) for way in ways
        )
        found.append(second - first)
    return found[0], *np.quantile(found[1:], [0.025, 0.975])


def pair_difference(pairs: Pairs, ways: Sequence[Sequence[PairProbe]], draws: int) -> tuple[float, float, float]:
    """Return the mean AUROC of the second way less that of the first, and its interval over proteins."""
    first, second = ([one.probabilities for one in way] for way in ways)
    gain = bootstrap_difference(pairs.labels, second, first, pairs.a, pairs.b, draws=draws)["auroc"]
    return gain.value, gain.low, gain.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    human = load_task("bernett", options.run / "store", [["train"], ["validation"]])
    yeast = load_task("b4ppi_yeast", options.run / "yeast_store", [["train", "validation", "test"]])
    found = {
        (way, seed): probe_encoder(load_checkpoint(options.run / f"{way}-{seed}").model, human, yeast)
        for way, seed in product(WAYS, range(options.seeds))
    }
    columns = {"pairs": ["auroc"], "partners": ["spearman", "r2"], "yeast_partners": ["spearman", "r2"]}
    table = pd.DataFrame(
        {"encoder": way, "seed": seed}
        | {f"{name}_{kind}": getattr(getattr(probes, name), kind) for name in columns for kind in columns[name]}
        for (way, seed), probes in found.items()
    )
    by_way = [Probes(*zip(*(found[way, seed] for seed in range(options.seeds)), strict=True)) for way in WAYS]
    differences = {
        "pairs_auroc": pair_difference(human.data.validation, [way.pairs for way in by_way], options.draws),
        "partners_spearman": property_difference(human, [way.partners for way in by_way], options.draws),
        "yeast_partners_spearman": property_difference(yeast, [way.yeast_partners for way in by_way], options.draws),
    }
    gains = pd.DataFrame(differences, index=["value", "low", "high"]).T.rename_axis("pretrained less random")
    content = {
        "what": "linear probes on mean tokens of v5's encoder; pretrained less random, 95% intervals",
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "proteins": {
            name: [len(part) for part in task.partners] for name, task in (("bernett", human), ("yeast", yeast))
        },
        "table": table.to_dict("records"),
        "differences": gains.to_dict("index"),
    }
    RESULT.write_text(json.dumps(content, indent=2, default=float) + "\n")
    print(table.round(4).to_string(index=False), gains.round(4).to_string(), sep="\n")


if __name__ == "__main__":
    main()
