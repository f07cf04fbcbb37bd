"""How often a 95% interval holds the truth: the protein-level bootstrap beside the one that draws pairs.

Simulated scores with a known AUROC, in three worlds: pairs that share no protein; pairs that do, but are independent;
and pairs that depend on their proteins, as sociable ones have rather positives and each protein shifts the scores of
its pairs. A pair's score is normal, 1 higher if it is positive, so the AUROC is Phi(1 / sqrt(2)). Writes
benchmarks/results/intervals.json and prints a table.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from ppi_lib.evaluate import bootstrap_intervals

RESULT = Path(__file__).parent / "results" / "intervals.json"
AUROC = float(norm.cdf(1 / np.sqrt(2)))


class World(NamedTuple):
    proteins: int
    pairs: int
    share: float = 0.0
    """Part of a score's variance that comes from its two proteins."""
    sociability: float = 0.0
    """Spread of the proteins' log odds to have positives."""


WORLDS = {
    "no protein in two pairs": World(4000, 2000),
    "shared proteins, independent": World(300, 2000),
    "shared proteins, dependent": World(300, 2000, share=0.5, sociability=2.0),
}


def simulate(world: World, generator: np.random.Generator):
    """Draw labels, probabilities and both proteins of `world.pairs` pairs."""
    if world.proteins == 2 * world.pairs:
        a, b = np.arange(world.proteins).reshape(2, -1)
    else:
        every = np.array(np.triu_indices(world.proteins, 1))
        a, b = every[:, generator.choice(every.shape[1], world.pairs, replace=False)]
    sociable = generator.normal(0, world.sociability, world.proteins)
    labels = (generator.random(world.pairs) < expit(sociable[a] + sociable[b])).astype(float)
    effect = generator.normal(0, np.sqrt(world.share / 2), world.proteins)
    noise = generator.normal(0, np.sqrt(1 - world.share), world.pairs)
    return labels, norm.cdf(labels + effect[a] + effect[b] + noise), a, b


def cover(world: World, trials: int, draws: int) -> dict[str, float]:
    """Return the share of the trials in which each bootstrap's interval holds the truth, and its mean width."""
    held, widths = {"proteins": [], "pairs": []}, {"proteins": [], "pairs": []}
    for trial in range(trials):
        labels, scores, a, b = simulate(world, np.random.default_rng(trial))
        alone = np.arange(2 * len(a)).reshape(2, -1)  # as if no two pairs had a protein in common
        for name, ids in (("proteins", (a, b)), ("pairs", alone)):
            interval = bootstrap_intervals(labels, scores, *ids, 0.5, draws=draws, seed=trial)["auroc"]
            held[name].append(interval.low <= AUROC <= interval.high)
            widths[name].append(interval.high - interval.low)
    return {name: {"coverage": float(np.mean(held[name])), "width": float(np.mean(widths[name]))} for name in held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--draws", type=int, default=400)
    given = parser.parse_args()
    results = {name: cover(world, given.trials, given.draws) for name, world in WORLDS.items()}
    RESULT.write_text(json.dumps({"auroc": AUROC, **vars(given), "results": results}, indent=2) + "\n")
    for name, result in results.items():
        print(name, *(f"{kind} drawn: {one['coverage']:.1%}, width {one['width']:.3f}" for kind, one in result.items()))


if __name__ == "__main__":
    main()
