"""The README's table: v5 on the Bernett gold standard beside baselines and published results, by one command.

The encoder of v5 stays frozen: at random weights, and pretrained as a masked autoencoder on the proteins of the
training and the validation split (never the test's), each seed an encoder of its own. Both are trained with three seeds
on the training split, and the mean of their three probabilities is a small ensemble. Thresholds and calibration come
from the validation split; intervals draw proteins; differences are paired. It goes on where it was cut off. Settings
are the defaults, chosen on the validation split.

    PPI_DATA_HOME=... python benchmarks/bernett.py --out runs/bernett_table

Writes benchmarks/results/bernett.json, figures/result.svg and .csv, and prints the table.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from training import cpu_name

from ppi_lib.assess import score_model
from ppi_lib.baselines import run_baselines
from ppi_lib.datasets import Dataset, load_dataset
from ppi_lib.embed import embed_proteins
from ppi_lib.evaluate import best_threshold, bootstrap_difference, bootstrap_intervals, describe_difference
from ppi_lib.figures import plot_comparison, save_figure
from ppi_lib.pretrain import SETTINGS as PRETRAINING
from ppi_lib.pretrain import pretrain_checkpoint
from ppi_lib.profile import GROUPS
from ppi_lib.report import INTERVALS, Scored, across_seeds, comparison, evaluate_scored, format_table
from ppi_lib.selective import risk_coverage
from ppi_lib.store import PatchStore
from ppi_lib.train import SETTINGS, train_checkpoint
from ppi_lib.uncertainty import sample_logits, summarise_samples

ROOT = Path(__file__).parent.parent
WAYS = {"random": "random encoder", "pretrained": "pretrained encoder"}


def pretrain_encoders(store: PatchStore, data: Dataset, size: str, out: Path, seeds: int) -> pd.DataFrame:
    """Pretrain an encoder for each seed, and return how well hidden patches are rebuilt by each."""
    tables = []
    for seed in range(seeds):
        result = pretrain_checkpoint(
            store,
            data.train.proteins,
            data.validation.proteins,
            size=size,
            config=replace(PRETRAINING[size], seed=seed),
            groups=GROUPS,
            out=out / f"encoder-{seed}",
        )
        tables.append(result.reconstruction.assign(seed=seed))
    return pd.concat(tables)


def train_ways(store: PatchStore, data: Dataset, size: str, out: Path, seeds: int) -> tuple[dict, dict]:
    """Return what every training scores, by way and seed, and its validation scores and the seconds of its steps."""
    scored, about = {}, {}
    for way in WAYS:
        for seed in range(seeds):
            checkpoint, result = train_checkpoint(
                store,
                data.train,
                data.validation,
                size=size,
                encoder=out / f"encoder-{seed}" if way == "pretrained" else None,
                config=replace(SETTINGS[size], seed=seed),
                out=out / f"{way}-{seed}",
                provenance={"dataset": data.name},
                progress=False,
            )
            one, logits = score_model(checkpoint, store, data, progress=False)
            scored[way, seed] = one._replace(name=f"v5, {WAYS[way]}, seed {seed}")
            best = result.history.set_index("epoch").loc[result.best_epoch]
            about[f"{way}-{seed}"] = {
                "training_seconds": result.history["seconds"].sum(),
                "validation_auroc": best["validation_auroc"],
                "validation_auprc": best["validation_auprc"],
            }
            print(way, seed, about[f"{way}-{seed}"], flush=True)
            if (way, seed) == ("random", 0):
                first = checkpoint, logits
    about["calibration"] = calibration_errors(*first, data)
    about["undecided"] = areas_under_risk(first[0], store, scored, data, seeds)
    return scored, about


def calibration_errors(checkpoint, logits: np.ndarray, data: Dataset) -> dict:
    """Return the expected calibration error on the test before and after calibration."""
    of_test = logits[len(data.validation) :]
    found = {"as trained": 1 / (1 + np.exp(-of_test)), "calibrated": checkpoint.calibration.probabilities(of_test)}
    ids, cut = (data.test.a, data.test.b), checkpoint.threshold  # the calibration error asks for no threshold
    errors = {n: bootstrap_intervals(data.test.labels, p, *ids, cut, draws=200)["ece"] for n, p in found.items()}
    return {name: {"ece": one.value, "ece_low": one.low, "ece_high": one.high} for name, one in errors.items()}


def areas_under_risk(checkpoint, store: PatchStore, scored: dict, data: Dataset, seeds: int) -> dict:
    """Return the mean risk over all coverages for four ways of being sure; the error rate is that of being blind."""
    labels, one = data.test.labels, scored["random", 0]
    threshold = best_threshold(data.validation.labels, one.validation_probabilities)
    samples = summarise_samples(
        sample_logits(checkpoint.model, store, data.test, progress=False), checkpoint.calibration
    )
    spread = np.std([scored["random", seed].probabilities for seed in range(seeds)], axis=0)
    ways = {
        "distance from the threshold": None,
        "knowledge, 20 samples of dropout": -samples.knowledge,
        "deviation, 20 samples of dropout": -samples.deviation,
        f"deviation of {seeds} trainings": -spread,
    }
    found = {
        name: risk_coverage(labels, one.probabilities, threshold, confidence).area for name, confidence in ways.items()
    }
    return found | {"error rate": risk_coverage(labels, one.probabilities, threshold).error_rate}


def join_seeds(scored: dict, way: str, seeds: int) -> Scored:
    """Return the ensemble: the mean of the seeds' probabilities."""
    ones = [scored[way, seed] for seed in range(seeds)]
    means = [np.mean([getattr(one, field) for one in ones], axis=0) for field in Scored._fields[2:]]
    return Scored(f"v5, {WAYS[way]}, mean of {seeds}", "ours", *means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="bernett")
    parser.add_argument("--size", default="v5")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bernett_table")
    options = parser.parse_args()
    data, out = load_dataset(options.dataset), options.out
    store = embed_proteins(data.proteins, out / "store", progress=False)
    rebuilt = pretrain_encoders(store, data, options.size, out, options.seeds)
    print(rebuilt.round(3).to_string(), flush=True)
    scored, about = train_ways(store, data, options.size, out, options.seeds)
    joined = {way: join_seeds(scored, way, options.seeds) for way in WAYS}
    pooled = {protein: store[protein].mean(axis=0) for protein in data.proteins.sequences}
    splits = data.train, data.validation, data.test
    baselines = [
        Scored(b.name, "baseline", b.probabilities, b.validation_probabilities)
        for b in run_baselines(data.proteins.sequences, *splits, pooled=pooled)
    ]
    rows = [*joined.values(), *scored.values(), *baselines]
    table = evaluate_scored(rows, *splits[1:], draws=options.draws)
    best = max(baselines, key=lambda b: table.set_index("name").loc[b.name, "auroc"])
    ends = [
        (scored["random", 0], best),
        (joined["random"], best),
        (joined["pretrained"], joined["random"]),
        (joined["pretrained"], best),
    ]
    differences = []
    for one, other in ends:
        both = one.probabilities, other.probabilities
        gain = bootstrap_difference(data.test.labels, *both, data.test.a, data.test.b, draws=options.draws)["auroc"]
        differences.append(describe_difference(one.name, other.name, gain))
    seeds = {
        way: across_seeds([table[table["name"] == scored[way, s].name].assign(name=way) for s in range(options.seeds)])
        for way in WAYS
    }
    content = {
        "what": f"{options.size} on {options.dataset}: test metrics, 95% intervals over proteins",
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "trainings": about,
        "reconstruction": rebuilt.to_dict("records"),
        "differences": differences,
        "seeds": {
            way: one[[*INTERVALS, *(f"{k}_sd" for k in INTERVALS)]].iloc[0].to_dict() for way, one in seeds.items()
        },
        "table": table.to_dict("records"),
    }
    print(format_table(table), *differences, sep="\n")
    if options.dataset == "bernett":
        (ROOT / "benchmarks/results/bernett.json").write_text(json.dumps(content, indent=2, default=float) + "\n")
        shown = pd.concat([table.iloc[:2], table[table["group"] == "baseline"]])
        figure_rows = comparison(shown, data.name)
        save_figure(
            plot_comparison(figure_rows, metric="Test AUROC, bernett"), ROOT / "figures/result", data=figure_rows
        )


if __name__ == "__main__":
    main()
