"""What an audit found, said in a sentence for each finding, and how bad it is.

A score that should tell nothing (a degree, a length) is judged by its AUROC and interval: far from .5, near it, or too
uncertain to say.
"""

from typing import NamedTuple

import pandas as pd

from ppi_lib.degree import count_among
from ppi_lib.proteins import Pairs

_MEANINGS = {"told": "fault", "little": "caution", "unknown": "caution", "nothing": "fine"}
_FAR, _NEAR = 0.1, 0.02
_MANY = 0.1


class Finding(NamedTuple):
    subject: str
    level: str
    """`fault`: a score on this test is not what it seems; `caution`: worth saying beside it; `fine`."""
    verdict: str
    """One sentence."""


def judge_validation(splits: dict[str, Pairs]) -> list[Finding]:
    """Say how many validation proteins stand in train, if any."""
    proteins = splits["validation"].proteins
    shared = set(proteins) & set(splits["train"].proteins)
    if not shared:
        return []
    text = f"{len(shared):,} of {len(proteins):,} validation proteins stand in train: epoch, threshold and calibration "
    return [
        Finding("validation", "caution", text + "are chosen on what was seen before, and may not suit what wasn't.")
    ]


def judge_classes(classes: pd.DataFrame, splits: dict[str, Pairs]) -> Finding:
    """Say how many test proteins were seen before, and the class of each test pair."""
    both, one, none = classes.loc[classes["split"] == "test", "pairs"]
    shared = set(splits["test"].proteins) & {*splits["train"].proteins, *splits["validation"].proteins}
    if not shared:
        return Finding("proteins", "fine", f"No protein of the {none:,} test pairs was seen before.")
    return Finding(
        "proteins",
        "fault",
        f"{len(shared):,} of {len(splits['test'].proteins):,} test proteins were seen before: of the test pairs, "
        f"{both:,} have both proteins seen (C1), {one:,} one (C2) and {none:,} none (C3), so a score on all of them "
        "also measures what was memorised; read it for each class.",
    )


def judge_pairs(shared: pd.DataFrame, conflicts: pd.DataFrame) -> list[Finding]:
    """Say what stands twice, and which pairs have both labels."""
    across = int((shared["split_count"] > 1).sum())
    within = len(shared) - across
    if not len(shared):
        return [
            Finding("pairs", "fine", "No pair stands in two splits, or twice in one, in either order."),
            Finding("labels", "fine", "No pair has two labels."),
        ]
    level = "fault" if across else "caution"
    text = f"{across:,} pairs stand in two splits, in the same or the other order, and {within:,} twice in one: "
    found = [Finding("pairs", level, text + "keep each in one place.")]
    if len(conflicts):
        first = conflicts.iloc[0]
        text = f"{len(conflicts):,} pairs have label 0 and 1, such as {first['protein_a']} and {first['protein_b']}: "
        return [*found, Finding("labels", "fault", text + "one of them is wrong.")]
    return [*found, Finding("labels", "fine", "No pair has two labels.")]


def judge_duplicates(table: pd.DataFrame) -> Finding:
    """Say which sequences stand under two ids or more."""
    if table.empty:
        return Finding("duplicates", "fine", "No sequence stands under two ids.")
    across = int(table["across"].sum())
    return Finding(
        "duplicates",
        "fault" if across else "caution",
        f"{len(table):,} sequences stand under two ids or more ({table['proteins'][0]}), {across:,} of them in "
        "different splits: use one id for each.",
    )


def judge_neighbours(
    tables, split: str, said: str, before: Pairs, pairs: Pairs, identity: float, coverage: float
) -> list[Finding]:
    """Say how many proteins of a split have a near neighbour seen before, and how many of its pairs that touches.

    `said` is the sample, if one was drawn. Of validation nothing is said if there is none.
    """
    near, searched = (
        set(tables[name].loc[tables[name]["split"] == split, column])
        for name, column in (("neighbours", "query"), ("searched", "protein"))
    )
    subject, test = ("homology", True) if split == "test" else (f"homology of {split}", False)
    if not searched:
        return [Finding(subject, "caution", f"Not searched, as every {split} protein was seen before.")] * test
    meaning = f"at least {identity:.0%} identical residues in an alignment over {coverage:.0%} of the shorter protein"
    if not near:
        text = f"None of the {len(searched):,} {split} proteins not seen before has a near neighbour that was"
        return [Finding(subject, "fine", f"{text} ({meaning}){said}.")] * test
    asked = (count_among({*searched, *before.proteins}, pairs) == 2) & (count_among(searched, pairs) > 0)
    touched = (count_among(near, pairs) > 0)[asked]
    many = max(len(near) / len(searched), touched.mean() if len(touched) else 0) > _MANY
    return [
        Finding(
            subject,
            "fault" if many and test else "caution",
            f"{len(near):,} of {len(searched):,} {split} proteins not seen before have a near neighbour that was "
            f"({meaning}){said}, which touches {touched.sum():,} of {len(touched):,} {split} pairs with one of the "
            f"{len(searched):,}: split whole clusters (`ppi split`).",
        )
    ]


def _level(row) -> str:
    """Say what an AUROC with its interval means for a score that should tell nothing: a key of `_MEANINGS`."""
    if (row["low"] > 0.5 or row["high"] < 0.5) and abs(row["auroc"] - 0.5) > _NEAR:
        return "told" if abs(row["auroc"] - 0.5) > _FAR else "little"
    return "unknown" if max(row["high"] - 0.5, 0.5 - row["low"]) > _FAR else "nothing"


def judge_degree(table: pd.DataFrame) -> Finding:
    """Say whether the number of pairs that a protein stands in tells the label."""
    said = [
        f"{row['auroc']:.3f} [{row['low']:.3f}, {row['high']:.3f}] in {row['split']}" for _, row in table.iterrows()
    ]
    levels = [_level(row) for _, row in table.iterrows()]
    found = next(one for one in _MEANINGS if one in levels)
    meaning = {
        "told": "positives and negatives were drawn from different proteins; draw negatives that match the degrees",
        "little": "it tells a little of the label",
        "unknown": "too few pairs to say if it tells something of the label",
        "nothing": "it tells nothing of the label",
    }
    text = f"The number of pairs that a protein stands in has AUROC {', '.join(said)}: {meaning[found]}."
    return Finding("degree", _MEANINGS[found], text)


def judge_shortcut(row) -> Finding:
    """Judge one score that never looks at a sequence."""
    found = _level(row)
    text = f"{row['score'].capitalize()} alone: AUROC {row['auroc']:.3f} [{row['low']:.3f}, {row['high']:.3f}] on test"
    turned = f" (turned round, {1 - row['auroc']:.3f})" if row["auroc"] < 0.5 else ""
    meaning = {
        "told": f"a model has to beat that{turned} before it has learned biology",
        "little": f"hold every result against it{turned}",
        "unknown": "too few pairs to tell it from guessing",
        "nothing": "close to guessing",
    }
    return Finding("without biology", _MEANINGS[found], f"{text}; {meaning[found]}.")
