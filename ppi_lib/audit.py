"""What is wrong with a split: leaks between its parts, and labels that can be guessed without looking at biology.

A test pair whose proteins were both seen before is of class C1, with one of them C2, with none C3 (Park and Marcotte
2012, Nat Methods 9:1134). Seen is what stands in train or validation, since both shape the model; for the validation
pairs it is what stands in train.

Shape letters: B pairs.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ppi_lib.degree import count_among, count_partners, find_hubs, scores_without_biology, sum_of_logs
from ppi_lib.errors import InputError
from ppi_lib.evaluate import bootstrap_intervals
from ppi_lib.homology import COVERAGE, IDENTITY, find_neighbours
from ppi_lib.proteins import Pairs, Proteins, check_classes, check_pairs

CLASSES = ("C3", "C2", "C1")
"""By the number of a pair's proteins that were seen before: none, one, both."""
_DRAWS = 200
_SAMPLE = 8000


class Finding(NamedTuple):
    subject: str
    level: str
    """`fault`: a score on this test is not what it seems; `caution`: worth saying beside it; `fine`."""
    verdict: str
    """One sentence."""


class Audit(NamedTuple):
    findings: tuple[Finding, ...]
    tables: dict[str, pd.DataFrame]
    """What the findings rest on: `classes`, `shared_pairs`, `conflicts`, `duplicates`, `searched` (the proteins that
    neighbours were looked for), `neighbours`, `degree` and `without_biology`."""

    def format(self) -> str:
        """Return a line for each finding."""
        return "\n".join(f"{one.level:8}{one.subject}: {one.verdict}" for one in self.findings)


def join_pairs(*parts: Pairs) -> Pairs:
    """Return the pairs of all parts, one after another."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("a", "b", "labels")}
    return Pairs(**columns, notes=())


def seen_classes(before: Pairs, pairs: Pairs) -> np.ndarray:
    """Return the class of each of `pairs`, C1 to C3 `(B,)`, by its proteins in `before`."""
    known = set(before.proteins)
    seen = [(a in known) + (b in known) for a, b in zip(pairs.a, pairs.b, strict=True)]
    return np.array(CLASSES, dtype=object)[seen]


def _check(splits: dict[str, Pairs], proteins: Proteins) -> None:
    for name, pairs in splits.items():
        if pairs.labels is not None and pairs.labels.dtype.kind not in "fiub":
            raise InputError(
                f"The {name} labels are of type {pairs.labels.dtype}, such as {str(pairs.labels[0])!r}; expected "
                "the numbers 0 and 1. Convert them."
            )
        check_classes(pairs, name)
        check_pairs(pairs, proteins, name)


def _stack(splits: dict[str, Pairs]) -> pd.DataFrame:
    """One row a pair: its split, its proteins in alphabetical order, its label."""
    parts = []
    for name, pairs in splits.items():
        turned = pairs.a.astype(str) > pairs.b.astype(str)
        first, second = np.where(turned, pairs.b, pairs.a), np.where(turned, pairs.a, pairs.b)
        parts.append(pd.DataFrame({"split": name, "protein_a": first, "protein_b": second, "label": pairs.labels}))
    return pd.concat(parts, ignore_index=True)


def _classes(splits: dict[str, Pairs]) -> pd.DataFrame:
    before = {"validation": splits["train"], "test": join_pairs(splits["train"], splits["validation"])}
    rows = []
    for name, known in before.items():
        found = seen_classes(known, splits[name])
        rows += [
            {"split": name, "class": one, "pairs": (found == one).sum(), "positive": splits[name].labels[found == one]}
            for one in reversed(CLASSES)
        ]
    table = pd.DataFrame(rows)
    return table.assign(positive=[part.mean() if len(part) else np.nan for part in table["positive"]])


def _judge_classes(classes: pd.DataFrame, splits: dict[str, Pairs]) -> Finding:
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


def _shared_pairs(stacked: pd.DataFrame) -> pd.DataFrame:
    """Pairs that stand in two rows, in either order, with the split and label of each."""
    both = ["protein_a", "protein_b"]
    again = stacked[stacked.duplicated(both, keep=False)]
    grouped = again.groupby(both, sort=True)
    return grouped.agg(
        splits=("split", lambda values: ", ".join(values)), labels=("label", list), split_count=("split", "nunique")
    ).reset_index()


def _judge_pairs(shared: pd.DataFrame, conflicts: pd.DataFrame) -> list[Finding]:
    across = int((shared["split_count"] > 1).sum())
    within = len(shared) - across
    if not len(shared):
        return [
            Finding("pairs", "fine", "No pair stands twice, in either order."),
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


def _places(splits: dict[str, Pairs]) -> dict[str, set[str]]:
    """The splits that each protein stands in."""
    places: dict[str, set[str]] = {}
    for name, pairs in splits.items():
        for protein in pairs.proteins:
            places.setdefault(protein, set()).add(name)
    return places


def _duplicates(splits: dict[str, Pairs], sequences: Mapping[str, str]) -> pd.DataFrame:
    """Sets of ids with one sequence, and whether two of them stand in different splits."""
    places, same = _places(splits), {}
    for protein in places:
        same.setdefault(sequences[protein], []).append(protein)
    rows = []
    for ids in same.values():
        if len(ids) > 1:
            across = any(places[one] != places[other] or len(places[one]) > 1 for one, other in combinations(ids, 2))
            rows.append({"proteins": ", ".join(ids), "across": across, "residues": len(sequences[ids[0]])})
    return pd.DataFrame(rows, columns=["proteins", "across", "residues"])


def _judge_duplicates(table: pd.DataFrame) -> Finding:
    if table.empty:
        return Finding("duplicates", "fine", "No sequence stands under two ids.")
    across = int(table["across"].sum())
    return Finding(
        "duplicates",
        "fault" if across else "caution",
        f"{len(table):,} sequences stand under two ids or more ({table['proteins'][0]}), {across:,} of them in "
        "different splits: use one id for each.",
    )


def _neighbours(splits, sequences, identity, coverage, sample, seed, threads) -> tuple[dict[str, pd.DataFrame], str]:
    """Near neighbours of validation and test proteins among those of earlier splits, and which proteins were searched.

    The second is a word if only a sample was.
    """
    before, searched, tables, said = [], [], [], ""
    for name, pairs in splits.items():
        queries = sorted(set(pairs.proteins) - set(before))
        if before and len(queries) > sample:
            said += f" (a sample of {sample:,} of the {len(queries):,} {name} proteins, seed {seed})"
            queries = sorted(np.random.default_rng(seed).choice(queries, sample, replace=False))
        chosen, known = ({protein: sequences[protein] for protein in ids} for ids in (queries, before))
        if before:
            found = find_neighbours(chosen, known, identity=identity, coverage=coverage, threads=threads)
            tables.append(found.assign(split=name))
            searched.append(pd.DataFrame({"split": name, "protein": queries}))
        before = sorted({*before, *pairs.proteins})
    names = "searched", "neighbours"
    return dict(zip(names, (pd.concat(part, ignore_index=True) for part in (searched, tables)), strict=True)), said


def highest_identities(found: Audit, before: Pairs) -> dict[str, float]:
    """Return how near each test protein is to one of `before`, train and validation: 0 without a near neighbour.

    Proteins of `before` have 1; those that were not searched are left out.
    """
    searched, neighbours = (found.tables[name].query("split == 'test'") for name in ("searched", "neighbours"))
    nearest = neighbours.groupby("query")["identity"].max().to_dict()
    return {**dict.fromkeys(searched["protein"], 0.0), **nearest, **dict.fromkeys(before.proteins, 1.0)}


def _judge_neighbours(tables, said: str, before: Pairs, test: Pairs, identity: float, coverage: float) -> Finding:
    near, searched = (
        set(tables[name].query("split == 'test'")[column])
        for name, column in (("neighbours", "query"), ("searched", "protein"))
    )
    known = count_among({*searched, *before.proteins}, test) == 2
    touched = (count_among(near, test) > 0)[known]
    meaning = f"at least {identity:.0%} identical residues in an alignment over {coverage:.0%} of the shorter protein"
    if not near:
        return Finding("homology", "fine", f"No test protein has a near neighbour seen before ({meaning}){said}.")
    return Finding(
        "homology",
        "fault" if touched.sum() > 0.1 * len(touched) else "caution",
        f"{len(near):,} test proteins have a near neighbour seen before ({meaning}){said}, which touches "
        f"{touched.sum():,} of {len(touched):,} test pairs{' of searched proteins' * bool(said)} "
        f"({touched.mean() if len(touched) else 0:.1%}): split whole clusters (`ppi split`).",
    )


def _interval(scores: np.ndarray, pairs: Pairs, seed: int):
    """AUROC of any scores with its protein-level interval."""
    ranks = rankdata(scores) / len(scores)
    return bootstrap_intervals(pairs.labels, ranks, pairs.a, pairs.b, 0.5, draws=_DRAWS, seed=seed)["auroc"]


def _degree(splits: dict[str, Pairs], seed: int) -> pd.DataFrame:
    """How many pairs the proteins of each split stand in, and whether that number tells the label."""
    rows = []
    for name, pairs in splits.items():
        counts = count_partners(pairs).pairs
        hubs, interval = count_among(find_hubs(counts), pairs) > 0, _interval(sum_of_logs(counts, pairs), pairs, seed)
        shares = {f"hub_share_{label}": hubs[pairs.labels == label].mean() for label in (0, 1)}
        about = {"split": name, "pairs": len(pairs), "proteins": len(counts), "positive": pairs.labels.mean()}
        spread = {"median_degree": counts.median(), "largest_degree": counts.max()}
        rows.append({**about, **spread, **shares, "auroc": interval.value, "low": interval.low, "high": interval.high})
    return pd.DataFrame(rows)


def _judge_degree(table: pd.DataFrame) -> Finding:
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


_MEANINGS = {"told": "fault", "little": "caution", "unknown": "caution", "nothing": "fine"}
_FAR, _NEAR = 0.1, 0.02


def _level(row) -> str:
    """Say what an AUROC with its interval means for a score that should tell nothing: a key of `_MEANINGS`."""
    if (row["low"] > 0.5 or row["high"] < 0.5) and abs(row["auroc"] - 0.5) > _NEAR:
        return "told" if abs(row["auroc"] - 0.5) > _FAR else "little"
    return "unknown" if max(row["high"] - 0.5, 0.5 - row["low"]) > _FAR else "nothing"


def _without_biology(before: Pairs, test: Pairs, sequences: Mapping[str, str], seed: int) -> pd.DataFrame:
    rows = []
    for name, scores in scores_without_biology(before, test, sequences).items():
        interval = _interval(scores, test, seed)
        rows.append({"score": name, "auroc": interval.value, "low": interval.low, "high": interval.high})
    return pd.DataFrame(rows)


def _judge_shortcut(row) -> Finding:
    """A verdict on one score that never looks at a sequence."""
    found = _level(row)
    text = f"{row['score'].capitalize()} alone: AUROC {row['auroc']:.3f} [{row['low']:.3f}, {row['high']:.3f}] on test"
    turned = f" (turned round, {1 - row['auroc']:.3f})" if row["auroc"] < 0.5 else ""
    meaning = {
        "told": f"a model has to beat that{turned} before it has learned biology",
        "little": f"hold every result against it{turned}",
        "unknown": "too few pairs to tell it from guessing",
        "nothing": "no better than guessing",
    }
    return Finding("without biology", _MEANINGS[found], f"{text}; {meaning[found]}.")


def audit(
    train: Pairs,
    validation: Pairs,
    test: Pairs,
    proteins: Proteins,
    *,
    identity: float = IDENTITY,
    coverage: float = COVERAGE,
    sample: int = _SAMPLE,
    seed: int = 0,
    threads: int | None = None,
) -> Audit:
    """Look for what makes a score on `test` look better than it is.

    Near neighbours are searched for at most `sample` proteins of a split, drawn with `seed`; 0 leaves homology out.
    Raises `InputError` for a split without both classes, and for ids without a sequence.
    """
    splits = {"train": train, "validation": validation, "test": test}
    if sample < 0:
        raise InputError(f"sample is {sample}; expected 0 for no search of neighbours, or a number of proteins.")
    _check(splits, proteins)
    sequences, stacked, before = proteins.sequences, _stack(splits), join_pairs(train, validation)
    shared = _shared_pairs(stacked)
    conflicts = shared[[len(set(labels)) > 1 for labels in shared["labels"]]]
    tables = {"classes": _classes(splits), "shared_pairs": shared, "conflicts": conflicts}
    tables["duplicates"] = _duplicates(splits, sequences)
    findings = [_judge_classes(tables["classes"], splits), *_judge_pairs(shared, conflicts)]
    findings.append(_judge_duplicates(tables["duplicates"]))
    if sample:
        found, said = _neighbours(splits, sequences, identity, coverage, sample, seed, threads)
        tables |= found
        findings.append(_judge_neighbours(tables, said, before, test, identity, coverage))
    tables["degree"] = _degree(splits, seed)
    tables["without_biology"] = _without_biology(before, test, sequences, seed)
    findings.append(_judge_degree(tables["degree"]))
    findings += [_judge_shortcut(row) for _, row in tables["without_biology"].iterrows()]
    return Audit(tuple(findings), tables)
