"""How often a 95% interval holds the truth: the protein-level bootstrap beside the one that draws pairs.

Simulated scores with a known AUROC, in four worlds: pairs that share no protein; pairs that do, but are independent,
many or few; and pairs that depend on their proteins, as sociable ones have rather positives and each protein shifts
the scores of its pairs. A pair's score is normal, 1 higher if it is positive, so the AUROC is Phi(1 / sqrt(2)); the
AUPRC at one positive to ten negatives follows from the same two densities. Writes benchmarks/results/intervals.json
and prints a table.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from ppi_lib.evaluate import bootstrap_intervals
from ppi_lib.resample import RARE

RESULT = Path(__file__).parent / "results" / "intervals.json"
_CUTS = np.linspace(8, -7, 200_001)
_RECALL, _FALSE = norm.sf(_CUTS, 1), norm.sf(_CUTS)
TRUTH = {
    "auroc": float(norm.cdf(1 / np.sqrt(2))),
    "auprc_1_10": float(np.trapezoid(_RECALL * RARE / (_RECALL * RARE + _FALSE * (1 - RARE)), _RECALL)),
}


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
    "shared proteins, independent, few": World(120, 400),
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


def cover(world: World, trials: int, draws: int) -> pd.DataFrame:
    """Return, for each metric and what is drawn, the share of the trials whose interval holds the truth, and means."""
    rows = []
    for trial in range(trials):
        labels, scores, a, b = simulate(world, np.random.default_rng(trial))
        alone = np.arange(2 * len(a)).reshape(2, -1)  # as if no two pairs had a protein in common
        for drawn, ids in (("proteins", (a, b)), ("pairs", alone)):
            found = bootstrap_intervals(labels, scores, *ids, 0.5, draws=draws, seed=trial)
            for metric, truth in TRUTH.items():
                value, low, high = found[metric][:3]
                about = {"coverage": low <= truth <= high, "width": high - low, "bias": value - truth}
                rows.append({"metric": metric, "drawn": drawn, **about})
    return pd.DataFrame(rows).groupby(["metric", "drawn"], sort=False).mean().reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--draws", type=int, default=200)
    given = parser.parse_args()
    results = {name: cover(world, given.trials, given.draws) for name, world in WORLDS.items()}
    rows = {name: table.to_dict("records") for name, table in results.items()}
    RESULT.write_text(json.dumps({"truth": TRUTH, **vars(given), "results": rows}, indent=2) + "\n")
    for name, table in results.items():
        print(name, table.round(3).to_string(index=False), sep="\n")


if __name__ == "__main__":
    main()
