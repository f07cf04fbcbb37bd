"""Proteins and pairs: read from files, checked, written.

A pair has no order: (A, B) and (B, A) are the same one, and stand once in a table. Proteins that stand in two
splits are allowed but counted, because a score on them measures memory as well.

Shape letters: B pairs.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically
from ppi_lib.records import PairRows, read_pair_rows, read_sequences
from ppi_lib.scales import STANDARD as STANDARD

MAX_RESIDUES = 1502


@dataclass(frozen=True, kw_only=True)
class Proteins:
    sequences: Mapping[str, str]
    """Whole sequence of each id: the 20 standard letters, and X for any other."""
    notes: tuple[str, ...]
    """A sentence for each thing that was changed or is worth knowing."""

    def take(self, ids: Iterable[str]) -> "Proteins":
        """Return only the proteins `ids`, in that order; the notes stay with the whole."""
        return Proteins(sequences={protein: self.sequences[protein] for protein in ids}, notes=())

    @property
    def cut(self) -> tuple[str, ...]:
        """Ids of the proteins of which embedding reads only the first `MAX_RESIDUES` residues."""
        return tuple(name for name, sequence in self.sequences.items() if len(sequence) > MAX_RESIDUES)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    a: np.ndarray
    """Ids `(B,)`, str objects."""
    b: np.ndarray
    """Ids `(B,)`, str objects."""
    labels: np.ndarray | None
    """`(B,)`, float32, 0 or 1; None where nobody knows."""
    notes: tuple[str, ...]
    """A sentence for each thing that was changed or is worth knowing."""

    def __post_init__(self):
        lengths = {len(column) for column in (self.a, self.b, self.labels) if column is not None}
        if len(lengths) > 1:
            raise InputError(f"a, b and labels have lengths {sorted(lengths)}; expected the same: one value per pair.")

    def __len__(self) -> int:
        return len(self.a)

    @property
    def proteins(self) -> tuple[str, ...]:
        """Ids that stand in any pair, sorted, each once."""
        return tuple(sorted({*self.a, *self.b}))

    def take(self, indices: np.ndarray) -> "Pairs":
        """Return the pairs at `indices` (places or a boolean mask); the notes stay with the table."""
        labels = None if self.labels is None else self.labels[indices]
        return Pairs(a=self.a[indices], b=self.b[indices], labels=labels, notes=())


class PairSplits(NamedTuple):
    train: Pairs
    validation: Pairs
    test: Pairs


def _list(ids: Sequence[str]) -> str:
    """The first five of `ids`, and how many more."""
    return ", ".join(map(str, ids[:5])) + (f" and {len(ids) - 5:,} more" if len(ids) > 5 else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _protein_notes(sequences: Mapping[str, str], changes: dict[str, list]) -> tuple[str, ...]:
    notes = []
    if changes["unknown"]:
        letters = sum((Counter(count) for _, count in changes["unknown"]), Counter())
        what = ", ".join(f"{letter} {count:,}" for letter, count in sorted(letters.items()))
        total, ids = _count(letters.total(), "residue"), [name for name, _ in changes["unknown"]]
        notes.append(f"Read as X: {total} outside the standard twenty ({what}), in {_list(ids)}.")
    cut = Proteins(sequences=sequences, notes=()).cut
    if cut:
        notes.append(
            f"Embedding reads the first {MAX_RESIDUES:,} residues of {_count(len(cut), 'protein')} longer "
            f"than that: {_list(cut)}."
        )
    for key, done in (
        ("lower", "Read as upper case"),
        ("stop", "Read without the '*' at the end"),
        ("twice", "Read once, as the sequence is the same again"),
    ):
        if changes[key]:
            notes.append(f"{done}: {_count(len(changes[key]), 'record')}, {_list(changes[key])}.")
    return tuple(notes)


def read_proteins(path: str | Path) -> Proteins:
    """Read FASTA, or a table of ids and sequences with or without a header.

    Raises `InputError` with the line for anything that isn't a sequence, and for an id with two sequences.
    """
    sequences, changes = read_sequences(path)
    return Proteins(sequences=sequences, notes=_protein_notes(sequences, changes))


def _pair_keys(*pair_sets: Pairs) -> list[np.ndarray]:
    """One number per pair, the same in either order, for each of `pair_sets`."""
    columns = [column for pairs in pair_sets for column in (pairs.a, pairs.b)]
    codes, ids = pd.factorize(np.concatenate(columns))
    parts = np.split(codes.astype(np.int64), np.cumsum([len(column) for column in columns])[:-1])
    return [np.minimum(a, b) * len(ids) + np.maximum(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]


def _each_once(pairs: Pairs, lines: np.ndarray, path: str | Path) -> Pairs:
    """Drop pairs that stand again in either order; refuse those with both labels."""
    _, first, place = np.unique(_pair_keys(pairs)[0], return_index=True, return_inverse=True)
    again = np.flatnonzero(first[place] != np.arange(len(pairs)))
    if pairs.labels is not None:
        both = again[pairs.labels[again] != pairs.labels[first[place[again]]]]
        if len(both):
            line, other = lines[first[place[both[0]]]], lines[both[0]]
            raise InputError(
                f"{path}: {_count(len(both), 'pair')} with label 0 and 1, first {pairs.a[both[0]]} and "
                f"{pairs.b[both[0]]} in lines {line} and {other}; expected one label per pair. Keep one line."
            )
    if not len(again):
        return pairs
    note = f"{_count(len(again), 'pair')} of {Path(path).name} dropped, as they stood before in either order."
    return replace(pairs.take(np.sort(first)), notes=(*pairs.notes, note))


def _build_pairs(rows: PairRows, mask: np.ndarray | slice, path: str | Path) -> Pairs:
    labels = None if rows.labels is None else rows.labels[mask]
    unused = f"Columns of {Path(path).name} that aren't used: {', '.join(rows.unused)}."
    doubtful = (
        f"The first line of {Path(path).name} ({', '.join(rows.doubtful)}) is read as names of columns; if it is a "
        "pair of proteins, put protein_a and protein_b into a line above it."
    )
    notes = (unused,) * bool(rows.unused) + (doubtful,) * bool(rows.doubtful)
    return Pairs(a=rows.a[mask], b=rows.b[mask], labels=labels, notes=notes)


def read_pairs(path: str | Path, *, labels: Literal["optional", "required", "ignored"] = "optional") -> Pairs:
    """Read a table of pairs; names of columns are guessed, without a header they are a, b and label.

    Raises `InputError` for a label other than 0 and 1, a pair with both, or columns that can't be told. With
    `labels="ignored"`, for prediction, labels are not read and every row is kept, pairs that stand twice as well.
    A split column is not used, which a note says.
    """
    needed = {"a", "b", "label"} if labels == "required" else {"a", "b"}
    ignored = {"label", "split"} if labels == "ignored" else {"split"}
    rows = read_pair_rows(path, needed, frozenset(ignored))
    pairs = _build_pairs(rows, slice(None), path)
    return pairs if labels == "ignored" else _each_once(pairs, rows.lines, path)


def read_pair_splits(path: str | Path) -> dict[str, Pairs]:
    """Read labelled pairs for each value of the split column, `{}` where the table has none."""
    rows = read_pair_rows(path, {"a", "b", "label"})
    values = [] if rows.splits is None else pd.unique(rows.splits)
    masks = {value: rows.splits == value for value in values}
    return {value: _each_once(_build_pairs(rows, mask, path), rows.lines[mask], path) for value, mask in masks.items()}


def _bare(name: str) -> str:
    """`name` without what databases put around an accession: sp|...|, a version, an isoform, lower case."""
    parts = name.split("|")
    return re.sub(r"[.-]\d+$", "", parts[1] if len(parts) > 1 else name).upper()


def check_pairs(pairs: Pairs, proteins: Proteins, name: str) -> None:
    """Raise `InputError` unless each id of `pairs` (called `name` in the message) has a sequence."""
    unknown = [protein for protein in pairs.proteins if protein not in proteins.sequences]
    if not unknown:
        return
    known = {_bare(protein): protein for protein in proteins.sequences}
    alike = [(protein, known[_bare(protein)]) for protein in unknown if _bare(protein) in known]
    hint = f" {len(alike)} differ only in case or version, such as {' and '.join(alike[0])}." if alike else ""
    raise InputError(
        f"The {name} pairs have {_count(len(unknown), 'id')} without a sequence ({_list(unknown)}); "
        f"expected each among the {_count(len(proteins.sequences), 'protein')}.{hint} "
        "Add the sequences or remove the pairs."
    )


def shared_proteins(first: Pairs, second: Pairs) -> list[str]:
    """Return the sorted ids that stand in both."""
    return sorted(set(first.proteins) & set(second.proteins))


def overlap_notes(train: Pairs, validation: Pairs, test: Pairs) -> tuple[str, ...]:
    """Return a sentence for each two splits that share proteins, and for each two that share pairs."""
    sets = {"train": train, "validation": validation, "test": test}
    keys = dict(zip(sets, _pair_keys(*sets.values()), strict=True))
    notes = []
    for one, other in combinations(sets, 2):
        shared = len(shared_proteins(sets[one], sets[other]))
        common, *places = np.intersect1d(keys[one], keys[other], return_indices=True)
        if shared:
            notes.append(
                f"{_count(shared, 'protein')} stand in both {one} and {other} "
                f"({shared / len(sets[other].proteins):.0%} of {other}): "
                f"the {other} score also measures what was memorised about them."
            )
        if len(common):
            labels = [sets[name].labels for name in (one, other)]
            known = all(column is not None for column in labels)
            opposite = int((labels[0][places[0]] != labels[1][places[1]]).sum()) if known else 0
            how = f", {opposite:,} of them with opposite labels" if opposite else ""
            notes.append(
                f"{_count(len(common), 'pair')} stand in both {one} and {other}{how}: remove from one of them."
            )
    return tuple(notes)


def check_classes(pairs: Pairs, name: str) -> None:
    """Raise `InputError` unless `pairs` are labelled and hold both classes."""
    way_out = "Give more pairs, another seed, or three tables of your own."
    if not len(pairs):
        raise InputError(f"The {name} split is empty; expected pairs of both classes. {way_out}")
    if pairs.labels is None:
        raise InputError(f"The {name} pairs have no labels; expected a column of 0 and 1. Add it.")
    if pairs.labels.min() == pairs.labels.max():
        raise InputError(
            f"The {name} split has {_count(len(pairs), 'pair')}, all labelled {pairs.labels[0]:.0f}; "
            f"expected both classes. {way_out} Positives alone get negatives by `ppi split --negatives degree`."
        )


def check_seed(seed: int) -> None:
    """Raise `InputError` for a seed that numpy or torch doesn't take."""
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; expected 0 or more, and below 2 to the 63rd. Give another.")


def _check_target(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"{path}: can't be written; expected a file name in a folder that exists. Make the folder.")
    return path


def write_fasta(proteins: Proteins, path: str | Path) -> None:
    """Write `proteins` as FASTA, 60 residues a line; whole, or not at all with `InputError`."""
    wrapped = {n: "\n".join(s[i : i + 60] for i in range(0, len(s), 60)) for n, s in proteins.sequences.items()}
    text = "".join(f">{name}\n{lines}\n" for name, lines in wrapped.items())
    write_atomically(_check_target(path), lambda target: target.write_text(text, encoding="utf-8"))


def write_pairs(pairs: Pairs, path: str | Path) -> None:
    """Write protein_a, protein_b and label, whole or not at all: Parquet or CSV if `path` ends so, else with tabs."""
    wrong = [protein for protein in pairs.proteins if re.search(r"[\t\r\n]", protein)]
    if wrong:
        raise InputError(f"{wrong[0]!r} holds a tab or line break; expected an id without, to be written. Rename it.")
    path, table = _check_target(path), pd.DataFrame({"protein_a": pairs.a, "protein_b": pairs.b})
    if pairs.labels is not None:
        table["label"] = pairs.labels.astype(int)
    if path.suffix == ".parquet":
        write_atomically(path, lambda target: table.to_parquet(target, index=False))
    else:
        # With tabs, quotes are read as any other letter. The temporary file's name doesn't tell that it's for .gz.
        form = dict(sep=",") if path.suffix == ".csv" else dict(sep="\t", quoting=csv.QUOTE_NONE)
        form["compression"] = "gzip" if path.suffix == ".gz" else None
        write_atomically(path, lambda target: table.to_csv(target, index=False, **form))
