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
from ppi_lib.verdicts import (
    Finding,
    judge_classes,
    judge_degree,
    judge_duplicates,
    judge_neighbours,
    judge_pairs,
    judge_shortcut,
    judge_validation,
)

CLASSES = ("C3", "C2", "C1")
"""By the number of a pair's proteins that were seen before: none, one, both."""
_DRAWS = 200
_SAMPLE = 8000


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


def _shared_pairs(stacked: pd.DataFrame) -> pd.DataFrame:
    """Pairs that stand in two rows, in either order, with the split and label of each."""
    both = ["protein_a", "protein_b"]
    again = stacked[stacked.duplicated(both, keep=False)]
    grouped = again.groupby(both, sort=True)
    return grouped.agg(
        splits=("split", lambda values: ", ".join(values)), labels=("label", list), split_count=("split", "nunique")
    ).reset_index()


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


def _neighbours(
    splits, sequences, identity, coverage, sample, seed, threads
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Near neighbours of validation and test proteins among those of earlier splits, and which proteins were searched.

    The second holds a word for each split of which only a sample was.
    """
    before, searched, tables, said = [], [], [], dict.fromkeys(splits, "")
    for name, pairs in splits.items():
        queries = sorted(set(pairs.proteins) - set(before))
        if before and len(queries) > sample:
            said[name] = f" (a sample of {sample:,} of the {len(queries):,} {name} proteins, seed {seed})"
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


def _without_biology(before: Pairs, test: Pairs, sequences: Mapping[str, str], seed: int) -> pd.DataFrame:
    rows = []
    for name, scores in scores_without_biology(before, test, sequences).items():
        interval = _interval(scores, test, seed)
        rows.append({"score": name, "auroc": interval.value, "low": interval.low, "high": interval.high})
    return pd.DataFrame(rows)


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
    conflicts = shared[np.array([len(set(labels)) > 1 for labels in shared["labels"]], dtype=bool)]
    tables = {"classes": _classes(splits), "shared_pairs": shared, "conflicts": conflicts}
    tables["duplicates"] = _duplicates(splits, sequences)
    findings = [judge_classes(tables["classes"], splits), *judge_validation(splits), *judge_pairs(shared, conflicts)]
    findings.append(judge_duplicates(tables["duplicates"]))
    if sample:
        found, said = _neighbours(splits, sequences, identity, coverage, sample, seed, threads)
        tables |= found
        for name, known in (("test", before), ("validation", train)):
            findings += judge_neighbours(tables, name, said[name], known, splits[name], identity, coverage)
    tables["degree"] = _degree(splits, seed)
    tables["without_biology"] = _without_biology(before, test, sequences, seed)
    findings.append(judge_degree(tables["degree"]))
    findings += [judge_shortcut(row) for _, row in tables["without_biology"].iterrows()]
    return Audit(tuple(findings), tables)
