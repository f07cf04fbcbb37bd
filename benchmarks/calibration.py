"""What calibration on validation pairs misses on the test, and what no calibration could take away.

The calibration error (15 bins) of a trained model's test pairs: as trained; calibrated on validation; on a half of the
test that shares no protein with the other, which is scored (validation and test are then alike, and only the proteins
are others); on a random half of the test's pairs; and on the very pairs that are scored. Mean and deviation of 20
draws of halves. The model is a trained run's, with the scores that `ppi evaluate` or `make run` left there.

    python benchmarks/calibration.py runs/bernett/model

Writes benchmarks/results/calibration.json and prints a table.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from ppi_lib.calibrate import METHODS, Calibration, fit_calibration
from ppi_lib.evaluate import compute_metrics

RESULT = Path(__file__).parent / "results" / "calibration.json"
DRAWS = 20


def error(calibration: Calibration, pairs: pd.DataFrame) -> float:
    return compute_metrics(pairs["label"], calibration.probabilities(pairs["logit"]), 0.5).ece


def halves(pairs: pd.DataFrame, by_protein: bool, generator: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two sets of pairs; by protein, those between two proteins of one half and of the other."""
    if not by_protein:
        drawn = generator.random(len(pairs)) < 0.5
        return pairs[drawn], pairs[~drawn]
    proteins = np.unique(pairs[["protein_a", "protein_b"]])
    side = pd.Series(generator.random(len(proteins)) < 0.5, proteins)
    a, b = (side[pairs[name]].to_numpy() for name in ("protein_a", "protein_b"))
    return pairs[a & b], pairs[~a & ~b]


def measure(validation: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    rows = [{"fitted on": "nothing", "method": "none", "ece": error(Calibration(), test)}]
    for method in METHODS:
        generator = np.random.default_rng(0)

        def fitted(pairs: pd.DataFrame, method: str = method) -> Calibration:
            return fit_calibration(pairs["label"], pairs["logit"], method=method)

        rows.append({"fitted on": "validation", "method": method, "ece": error(fitted(validation), test)})
        for name, by_protein in (("test, other proteins", True), ("test, other pairs", False)):
            drawn = [halves(test, by_protein, generator) for _ in range(DRAWS)]
            errors = [error(fitted(one), other) for one, other in drawn]
            rows.append({"fitted on": name, "method": method, "ece": np.mean(errors), "deviation": np.std(errors)})
        rows.append({"fitted on": "test, the same pairs", "method": method, "ece": error(fitted(test), test)})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    scores = pd.read_parquet(parser.parse_args().run / "scores.parquet")
    validation, test = (scores[scores["split"] == split] for split in ("validation", "test"))
    table = measure(validation, test)
    content = {"pairs": {"validation": len(validation), "test": len(test)}, "table": table.to_dict("records")}
    RESULT.write_text(json.dumps(content, indent=2) + "\n")
    print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
