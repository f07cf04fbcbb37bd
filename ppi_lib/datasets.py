"""Datasets by name, and the user's own files, each as one `Dataset` that is ready to train on.

`bernett` (Bernett, Blumenthal, List 2024, Brief Bioinform 25:bbae076, with the sequences that TUnA added) and
`b4ppi_yeast`, `b4ppi_human` and `b4ppi_human_test2` (Lannelongue, Inouye 2024, Bioinformatics, btae012) come once
from pinned addresses (`downloads.py`). `demo` is made by `demo.py`.

The labels of B4PPI follow node degree, which its notes measure. Its human set has two tests for one training:
`test1`, half positives, and `test2`, of which one in eleven is positive.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ppi_lib.demo import draw_pairs, plant_sites
from ppi_lib.downloads import fetch_files
from ppi_lib.errors import InputError
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.proteins import (
    Pairs,
    PairSplits,
    Proteins,
    check_classes,
    check_pairs,
    check_seed,
    overlap_notes,
    read_pair_splits,
    read_pairs,
    read_proteins,
    write_fasta,
    write_pairs,
)
from ppi_lib.split import split_by_protein

NAMES = ("demo", "bernett", "b4ppi_yeast", "b4ppi_human", "b4ppi_human_test2")
_GITHUB = "https://raw.githubusercontent.com/"
_TUNA = _GITHUB + "Wang-lab-UCSD/TUnA/8cd8b079cae26ae6f431adaf9dcae591ba401d1a/data/processed/bernett/"
_B4PPI = _GITHUB + "Llannelongue/B4PPI/47984eb496ddfff49814a6d784d02ff3c3d0fbff/data/"
# SHA-256 of each file, or where nobody has published it git's blob id at the pinned commit.
_BERNETT_FILES = {
    "Intra1_interaction.tsv": "e01f47d5ca70b5cbf67203aa4850aa69dbab92ee12909a29377e5a79c286711b",
    "Intra0_interaction.tsv": "c8d397a649958aa0b628059d6a41a69cdedf51d946f10ed7dfd571bc7ea72062",
    "Intra2_interaction.tsv": "4d100511798a9ce6511aff78da84a9689b8fbe0200793121d78223f97ef34eda",
    "Intra1_dictionary.tsv": "fe69fe8f3cb7e168d2c9baf0b8ebf60adc5added68b533cc9b60c8aa5eaa2590",
    "Intra0_dictionary.tsv": "b37a042e1fa61f9c0ca1d314a97c6a992be5ac37fb435ed70f008fa0bd4c115b",
    "Intra2_dictionary.tsv": "d35116184215b8d9783e69eb0d7c0966ef889c4b58b256a4ea610cc98ef98d87",
}
_B4PPI_FILES = {
    "benchmarkingGS_yeast_v1-0.csv": "a9c561d5bf0073ebec5b114c620e07b19e297bcc075a048a8853dded18281a5a",
    "sequenceData_yeast_v1-0--1-0.csv": "8d6c16f5a3f82f8f069d0c01c5d5c4a4329d0261fea1ff68a2e7ef06dc8730bd",
}
_B4PPI_HUMAN_FILES = {
    "benchmarkingGS_v1-0.csv": "a163debb9e3d4a3b5a71e94c79aa45ad12114a29",
    "sequenceData_v3-4--2-0.csv": "1bd23ffd028820eccda060127ab762511221321a",
}
_FILES = {
    "bernett": (_TUNA, _BERNETT_FILES),
    "b4ppi_yeast": (_B4PPI, _B4PPI_FILES),
    "b4ppi_human": (_B4PPI, _B4PPI_HUMAN_FILES),
}
_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test", "dev": "validation"}
_SPLIT_NAMES |= dict.fromkeys(("validation", "valid", "val"), "validation")
_HELD_OUT = 0.1


@dataclass(frozen=True, kw_only=True)
class Dataset:
    name: str
    proteins: Proteins
    train: Pairs
    validation: Pairs
    test: Pairs
    notes: tuple[str, ...]
    """All that was changed, dropped or is worth knowing, a sentence each."""
    sites: Mapping[str, tuple[int, int, str]] | None = None
    """`demo` only: first residue (from 0), one past the last, role and family of each protein's domain or motif."""


def _build(name: str, proteins: Proteins, splits: PairSplits, notes: tuple[str, ...] = ()) -> Dataset:
    """Check that the parts fit, and gather their notes."""
    for split, pairs in zip(splits._fields, splits, strict=True):
        check_classes(pairs, split)
        check_pairs(pairs, proteins, split)
    parts = [proteins.notes, *(pairs.notes for pairs in splits), notes, overlap_notes(*splits)]
    unique = tuple(dict.fromkeys(note for part in parts for note in part))
    return Dataset(name=name, proteins=proteins, notes=unique, **splits._asdict())


def _hold_out(train: Pairs, test: Pairs, seed: int) -> PairSplits:
    """Take the validation pairs out of the training pairs, at random."""
    order = np.random.default_rng(seed).permutation(len(train))
    count = round(_HELD_OUT * len(train))
    note = f"No validation pairs given: {count:,} training pairs, drawn with seed {seed}, serve as such."
    kept = replace(train.take(np.sort(order[count:])), notes=(*train.notes, note))
    return PairSplits(kept, train.take(np.sort(order[:count])), test)


def _name_splits(tables: Mapping[str, Pairs], path: str | Path, seed: int) -> PairSplits:
    """Read the values of a split column."""
    named = {_SPLIT_NAMES.get(value.lower(), ""): pairs for value, pairs in tables.items()}
    if len(named) != len(tables) or "" in named or not {"train", "test"} <= set(named):
        raise InputError(
            f"{path}: the split column holds {', '.join(sorted(tables))}; "
            "expected train, test and perhaps validation. Rename the values, or give a file per split."
        )
    return PairSplits(**named) if "validation" in named else _hold_out(named["train"], named["test"], seed)


def load_files(
    proteins_path: str | Path,
    pairs_path: str | Path,
    *,
    validation_path: str | Path | None = None,
    test_path: str | Path | None = None,
    seed: int = 0,
) -> Dataset:
    """Load sequences and labelled pairs: a file per split, or one, split by its split column or by protein.

    A tenth of the training pairs serve as validation where none are given. Raises `InputError` for pairs
    without sequence, and for a split that is empty or of one class; overlaps are allowed and noted, and so is
    a split column that isn't used because there is a file per split.
    """
    check_seed(seed)
    if validation_path and not test_path:
        raise InputError(f"{validation_path}: validation pairs without test pairs; expected both tables or neither.")
    proteins = read_proteins(proteins_path)
    if test_path:
        train, test = (read_pairs(path, labels="required") for path in (pairs_path, test_path))
        if validation_path:
            splits = PairSplits(train, read_pairs(validation_path, labels="required"), test)
        else:
            splits = _hold_out(train, test, seed)
    elif tables := read_pair_splits(pairs_path):
        splits = _name_splits(tables, pairs_path, seed)
    else:
        pairs = read_pairs(pairs_path, labels="required")
        check_pairs(pairs, proteins, "given")
        splits = split_by_protein(pairs, seed=seed)
    return _build(Path(pairs_path).stem, proteins, splits)


def save_dataset(dataset: Dataset, folder: str | Path) -> None:
    """Write the sequences, the pairs of each split and the demo's sites, for `load_saved`."""
    folder = make_folder(folder)
    write_fasta(dataset.proteins, folder / "proteins.fasta")
    for split in PairSplits._fields:
        write_pairs(getattr(dataset, split), folder / f"{split}.tsv")
    if dataset.sites is not None:
        rows = [(protein, *site) for protein, site in dataset.sites.items()]
        table = pd.DataFrame(rows, columns=["protein", "start", "stop", "kind"])
        write_atomically(folder / "sites.tsv", lambda path: table.to_csv(path, sep="\t", index=False))


def load_saved(folder: str | Path) -> Dataset:
    """Load what `save_dataset` wrote: the same proteins, pairs and sites in the same order.

    Name and notes aren't in the files: the name is train, and the notes are found anew.
    """
    if not (Path(folder) / "proteins.fasta").exists():
        raise InputError(
            f"{folder}: no data of a run is there. `ppi train` leaves it; after a training from Python write it with "
            f"save_dataset(data, {str(folder)!r})."
        )
    paths = [Path(folder) / f"{split}.tsv" for split in PairSplits._fields]
    dataset = load_files(Path(folder) / "proteins.fasta", paths[0], validation_path=paths[1], test_path=paths[2])
    if not (Path(folder) / "sites.tsv").exists():
        return dataset
    table = pd.read_csv(Path(folder) / "sites.tsv", sep="\t")
    return replace(dataset, sites={protein: tuple(site) for protein, *site in table.itertuples(index=False, name=None)})


def _fetch(name: str) -> Path:
    return fetch_files(name, *_FILES[name])


def _load_bernett() -> Dataset:
    folder = _fetch("bernett")
    parts = [read_proteins(folder / f"Intra{i}_dictionary.tsv") for i in (1, 0, 2)]
    sequences = {protein: sequence for part in parts for protein, sequence in part.sequences.items()}
    splits = PairSplits(*(read_pairs(folder / f"Intra{i}_interaction.tsv", labels="required") for i in (1, 0, 2)))
    labelled = zip(splits._fields, parts, strict=True)
    notes = tuple(f"{split}: {note}" for split, part in labelled for note in part.notes)
    return _build("bernett", Proteins(sequences=sequences, notes=notes), splits)


def _degree_note(name: str, train: Pairs, test: Pairs) -> str:
    """Say how far the degree in training alone tells the labels of the test, and what the two share."""
    positive = train.labels == 1
    degree = Counter([*train.a[positive], *train.b[positive]])
    scores = [np.log1p(degree[a]) + np.log1p(degree[b]) for a, b in zip(test.a, test.b, strict=True)]
    known = set(train.proteins)
    seen = np.array([(a in known) + (b in known) for a, b in zip(test.a, test.b, strict=True)])
    none, one, both = np.bincount(seen, minlength=3)
    auroc = f"{roc_auc_score(test.labels, scores):.3f}".lstrip("0")
    return (
        f"The labels of {name} follow node degree: each protein's number of positive training partners "
        f"alone scores AUROC {auroc}. Train and test share {len(known & set(test.proteins)):,} proteins: "
        f"of the test pairs, {both:,} have both proteins in train, {one:,} one and {none:,} none."
    )


def _load_b4ppi(name: str, seed: int, *, species: str, test: str) -> Dataset:
    """Load the pairs of a species, with those marked `test` as test."""
    pairs_file, proteins_file = (_fetch(species) / file for file in _FILES[species][1])
    tables = read_pair_splits(pairs_file)
    if not {"train", test} <= tables.keys():
        raise InputError(f"{pairs_file}: has splits {', '.join(sorted(tables))}; expected train and {test}.")
    train, tested = tables["train"], tables[test]
    notes = [_degree_note(name, train, tested)]
    if tested.labels.mean() < 0.4:
        notes.append(
            f"Of the test pairs {tested.labels.mean():.1%} are positive, of the training pairs "
            f"{train.labels.mean():.1%}: probabilities are too high, and AUPRC is far below that of a balanced test."
        )
    return _build(name, read_proteins(proteins_file), _hold_out(train, tested, seed), tuple(notes))


_LOADERS = {
    "bernett": lambda seed: _load_bernett(),
    "b4ppi_yeast": lambda seed: _load_b4ppi("b4ppi_yeast", seed, species="b4ppi_yeast", test="test"),
    "b4ppi_human": lambda seed: _load_b4ppi("b4ppi_human", seed, species="b4ppi_human", test="test1"),
    "b4ppi_human_test2": lambda seed: _load_b4ppi("b4ppi_human_test2", seed, species="b4ppi_human", test="test2"),
}


def _find_fasta(pairs: Path) -> Path:
    """Return the FASTA file that lies beside a file of pairs."""
    likely = [*(pairs.with_suffix(suffix) for suffix in (".fasta", ".fa", ".faa")), pairs.parent / "proteins.fasta"]
    found = next((path for path in likely if path.is_file()), None)
    if found is None:
        names = ", ".join(path.name for path in likely)
        raise InputError(f"{pairs}: no sequences beside it; expected one of {names}. Say with fasta where they are.")
    return found


def load_dataset(name: str | Path, *, fasta: str | Path | None = None, seed: int = 0) -> Dataset:
    """Load one of `NAMES`, or your own file of pairs, with its sequences in `fasta` or in a FASTA file beside it.

    `seed` draws the demo, the validation pairs of B4PPI, and the splits of a file without a split column.
    """
    check_seed(seed)
    if fasta and name in NAMES:
        raise InputError(f"fasta is {fasta}, but {name} has its own sequences. Give your file of pairs as the dataset.")
    if name == "demo":
        return make_demo(seed=seed)
    if name in _LOADERS:
        return _LOADERS[name](seed)
    if not Path(name).is_file():
        raise InputError(
            f"dataset is {str(name)!r}; expected one of {', '.join(NAMES)}, or a file of pairs, and there is none of "
            f"that name in {Path.cwd()}."
        )
    return load_files(fasta or _find_fasta(Path(name)), name, seed=seed)


def make_demo(
    *,
    proteins: int = 2000,
    pairs: tuple[int, int, int] = (12_000, 1200, 2400),
    shares: tuple[float, float, float] = (0.70, 0.12, 0.18),
    families: int = 4,
    domain: int = 90,
    motif: int = 16,
    conserved: float = 0.8,
    median_length: int = 350,
    seed: int = 0,
) -> Dataset:
    """Make a dataset of which the truth is known: what interacts, and by which residues.

    `pairs` and `shares` (of the proteins) are for train, validation and test, which share no protein. A lock's domain
    has `domain` residues, of which the share `conserved` tells the family; a key's motif has `motif`.
    """
    check_seed(seed)
    if families < 2 or not 4 <= motif <= domain <= 300:
        raise InputError(
            f"families is {families}, motif {motif}, domain {domain}; expected from 2, from 4 to domain, and to 300."
        )
    generator = np.random.default_rng(seed)
    bounds = np.round(np.cumsum([0, *shares]) * proteins).astype(int)
    kinds = np.concatenate([generator.permutation(np.arange(n) % (2 * families)) for n in np.diff(bounds)])
    planted = plant_sites(
        kinds, domain=domain, motif=motif, conserved=conserved, median=median_length, generator=generator
    )
    ids = np.array(list(planted.sequences), dtype=object)
    spans = [slice(start, stop) for start, stop in pairwise(bounds)]
    splits = [draw_pairs(ids[span], kinds[span], count, generator) for span, count in zip(spans, pairs, strict=True)]
    note = f"Made with seed {seed}, not measured: a lock and a key of the same family interact, nothing else."
    demo = _build("demo", Proteins(sequences=planted.sequences, notes=()), PairSplits(*splits), (note,))
    return replace(demo, sites=planted.sites)


def known_interactions(dataset: Dataset, proteins: Iterable[str]) -> set[tuple[str, str]]:
    """Return the pairs among `proteins` that interact, each as its sorted ids.

    In the demo these are all there are: a lock and a key of one family. Elsewhere they are the positives of the three
    splits, and a pair that is not among them may interact all the same.
    """
    proteins = set(proteins)
    if dataset.sites is not None:
        roles = {protein: dataset.sites[protein][2].split() for protein in proteins}
        locks, keys = ([p for p in proteins if roles[p][0] == role] for role in ("lock", "key"))
        return {tuple(sorted((a, b))) for a in locks for b in keys if roles[a][1] == roles[b][1]}
    splits = (dataset.train, dataset.validation, dataset.test)
    positives = (
        (a, b) for pairs in splits for a, b in zip(*(c[pairs.labels == 1] for c in (pairs.a, pairs.b)), strict=True)
    )
    return {tuple(sorted((a, b))) for a, b in positives if a in proteins and b in proteins}
