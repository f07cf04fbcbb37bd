"""What every result is held against: small models on numbers that a sequence gives away cheaply.

Three sets of numbers per protein (composition, biophysical, biophysical with both termini), a fourth where
pooled embeddings are given, with a fifth of random numbers in their place, each under a logistic regression and under
gradient boosting; and what never sees a sequence: one probability for all, a protein's positive partners in training,
and how many hubs a pair has. The interolog looks up the most alike training pair. Permuted training labels show what
the fitting itself pretends. A network that doesn't beat these has learned nothing more than they have.

A pair is the sum, the |difference| and the product of its two proteins' standardised numbers, so that the
order of the two never matters. Standardisation and PCA are fitted on the training proteins.

Shape letters: N proteins, F numbers per protein, B pairs, L residues.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ppi_lib.degree import count_among, count_partners, find_hubs
from ppi_lib.errors import InputError
from ppi_lib.homology import find_neighbours
from ppi_lib.scales import STANDARD, encode_residues
from ppi_lib.whole import BIOPHYSICS, TERMINUS, biophysics, composition

_POOLED_WIDTH = 64


class Baseline(NamedTuple):
    """One baseline's probabilities on the test and the validation pairs, in their order."""

    name: str
    probabilities: np.ndarray
    validation_probabilities: np.ndarray


def _encode(sequences: Mapping[str, str]) -> list[np.ndarray]:
    """Return the residue codes of each protein, or name the one without residues."""
    if not len(sequences):
        raise InputError("sequences is empty; expected at least one protein.")
    for name, sequence in sequences.items():
        if not sequence:
            raise InputError(f"The sequence of {name!r} is empty; expected at least one residue. Leave it out.")
    return [encode_residues(sequence) for sequence in sequences.values()]


def _frame(rows: list[np.ndarray], sequences: Mapping[str, str], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(np.array(rows), index=list(sequences), columns=columns)


def composition_features(sequences: Mapping[str, str]) -> pd.DataFrame:
    """Return 21 numbers per protein: the shares of the 20 residues, and the log of the length."""
    rows = [np.append(composition(codes), np.log(len(codes))) for codes in _encode(sequences)]
    return _frame(rows, sequences, [*STANDARD, "log_length"])


def biophysical_features(sequences: Mapping[str, str], *, termini: bool = False) -> pd.DataFrame:
    """Return 38 numbers per protein, with `termini` 78: also the composition of both ends, 50 residues.

    Composition; log length; maximum, minimum and spread of hydropathy (Kyte and Doolittle 1982) in windows of
    19, disorder (TOP-IDP, Campen et al. 2008) in windows of 21 and charge in windows of 15; shares of windows
    beyond a threshold; local entropy. At the ends a window is cut.
    """
    columns = [*STANDARD, *BIOPHYSICS]
    if termini:
        columns += [f"{end}_{residue}" for end in ("start", "end") for residue in STANDARD]
    rows = []
    for codes in _encode(sequences):
        ends = [composition(codes[:TERMINUS]), composition(codes[-TERMINUS:])] if termini else []
        rows.append(np.concatenate([composition(codes), biophysics(codes), *ends]))
    return _frame(rows, sequences, columns)


def pair_features(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return sum, |difference| and product `(B, 3F)` of two proteins' numbers `(B, F)`."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise InputError(f"a has shape {a.shape}, b {b.shape}; expected the same: one row per pair on both sides.")
    return np.concatenate([a + b, np.abs(a - b), a * b], axis=1)


def _rows_of(ids, index: pd.Index, what: str) -> np.ndarray:
    """Return the row of each id, or name those that `what` doesn't hold."""
    rows = index.get_indexer(np.asarray(ids))
    if (rows < 0).any():
        missing = list(dict.fromkeys(np.asarray(ids)[rows < 0]))
        raise InputError(
            f"{what} lack {len(missing)} proteins of the pairs, such as {', '.join(map(str, missing[:3]))}; "
            "expected every one. Add them, or drop their pairs."
        )
    return rows


def _standardise(table: pd.DataFrame, train_rows: np.ndarray, seed: int) -> np.ndarray:
    """Centre and scale by the training proteins `(N, F)`; reduce wide tables by PCA."""
    steps = [StandardScaler()]
    # fewer for few proteins: standardised, their last components are noise, blown up on other proteins
    width = max(1, min(_POOLED_WIDTH, len(train_rows) // 4))
    if table.shape[1] > 2 * _POOLED_WIDTH:
        steps += [PCA(width, random_state=seed), StandardScaler()]
    pipeline = make_pipeline(*steps).fit(table.to_numpy(dtype=float)[train_rows])
    return pipeline.transform(table.to_numpy(dtype=float)).astype(np.float32)


def _models(seed: int) -> dict[str, object]:
    """The two models; of boosting's settings that tie on bernett's validation split, a small one."""
    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)),
        # no early stopping: it would hold out random pairs, which share proteins with those it keeps
        "gradient boosting": HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.05,
            max_leaf_nodes=8,
            max_bins=63,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        ),
    }


def _fit_on(
    table: pd.DataFrame, what: str, splits: list, seed: int, report: Callable[[str], None]
) -> Iterator[Baseline]:
    """Yield both models' results on one table of numbers per protein."""
    rows = [(_rows_of(pairs.a, table.index, what), _rows_of(pairs.b, table.index, what)) for pairs in splits]
    numbers = _standardise(table, np.unique(np.concatenate(rows[0])), seed)
    train, validation, test = (pair_features(numbers[a], numbers[b]) for a, b in rows)
    for model_name, model in _models(seed).items():
        name = f"{model_name}, {what}"
        report(name)
        model.fit(train, np.asarray(splits[0].labels))
        yield Baseline(name, model.predict_proba(test)[:, 1], model.predict_proba(validation)[:, 1])


def degree_baseline(train, validation, test) -> Baseline:
    """Score a pair by its proteins' positive training partners: 1 - 1 / ((1 + n_A)(1 + n_B)).

    It ranks as log(1 + n_A) + log(1 + n_B) does and is no calibrated probability.
    """
    positive = np.asarray(train.labels) == 1
    partners = pd.Series(np.concatenate([np.asarray(train.a)[positive], np.asarray(train.b)[positive]])).value_counts()

    def score(pairs):
        n_a, n_b = (partners.reindex(np.asarray(ids), fill_value=0).to_numpy() for ids in (pairs.a, pairs.b))
        return 1 - 1 / ((1.0 + n_a) * (1.0 + n_b))

    return Baseline("degree in training", score(test), score(validation))


def _score_both(name: str, score: Callable, validation, test) -> Baseline:
    return Baseline(name, score(test), score(validation))


def constant_baseline(train, validation, test) -> Baseline:
    """Give every pair the share of positives in training."""
    share = float(np.mean(train.labels))
    return _score_both("constant", lambda pairs: np.full(len(pairs.a), share), validation, test)


def hub_baseline(train, validation, test) -> Baseline:
    """Score a pair by how many of its proteins are among the tenth with most positive training partners."""
    hubs = find_hubs(count_partners(train).positives)
    return _score_both("hubs in training", lambda pairs: count_among(hubs, pairs) / 2, validation, test)


def interolog_baseline(sequences: Mapping[str, str], train, validation, test) -> Baseline:
    """Score a pair by the most alike positive training pair: the product of the two identities, 0 without one.

    Interologs (Walhout et al. 2000, Science 287:116). A protein is alike to itself and to its neighbours in training
    from 30% identity over 30% of the shorter one on.
    """
    positive = np.asarray(train.labels) == 1
    partners: dict[str, set[str]] = {}
    for a, b in zip(np.asarray(train.a)[positive], np.asarray(train.b)[positive], strict=True):
        partners.setdefault(a, set()).add(b)
        partners.setdefault(b, set()).add(a)
    asked = dict.fromkeys(one for pairs in (validation, test) for ids in (pairs.a, pairs.b) for one in ids)
    found = find_neighbours(
        {one: sequences[one] for one in asked}, {one: sequences[one] for one in partners}, identity=0.3, coverage=0.3
    )
    alike = {one: {one: 1.0} if one in partners else {} for one in asked}
    for row in found.itertuples():
        alike[row.query][row.target] = row.identity

    def best(a: str, b: str) -> float:
        near = alike[b]
        meets = ((x, y) for x in alike[a] for y in partners[x] & near.keys())
        return max((alike[a][x] * near[y] for x, y in meets), default=0.0)

    def score(pairs):
        return np.array([best(a, b) for a, b in zip(pairs.a, pairs.b, strict=True)])

    return _score_both("interolog", score, validation, test)


def permuted_baseline(table: pd.DataFrame, splits: list, seed: int) -> Baseline:
    """Fit gradient boosting on one table of numbers per protein, to training labels dealt at random."""
    train, *others = splits
    labels = np.random.default_rng(seed).permutation(np.asarray(train.labels))
    shuffled = SimpleNamespace(a=train.a, b=train.b, labels=labels)
    *_, boosted = _fit_on(table, "permuted labels", [shuffled, *others], seed, lambda name: None)
    return boosted


def _check_training(train) -> None:
    found = set(np.unique(np.asarray(train.labels, dtype=float)))
    if found != {0.0, 1.0}:
        raise InputError(f"train.labels hold {sorted(found)}; expected both 0 and 1, and nothing else.")


def run_baselines(
    sequences: Mapping[str, str],
    train,
    validation,
    test,
    *,
    pooled: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> list[Baseline]:
    """Fit every baseline on `train` and score `validation` and `test`, all `Pairs`.

    `pooled` holds one mean embedding per protein; one wider than 128 is reduced to 64 principal components.
    `progress` is called with the name of each baseline before it is fitted.
    """
    _check_training(train)
    report, splits = progress or (lambda name: None), [train, validation, test]
    needed = {name: None for pairs in splits for ids in (pairs.a, pairs.b) for name in np.asarray(ids)}
    _rows_of(list(needed), pd.Index(list(sequences)), "sequences")
    used = {name: sequences[name] for name in needed}
    biophysical = biophysical_features(used, termini=True)
    tables = {
        "composition": composition_features(used),
        "biophysics": biophysical.iloc[:, :38],
        "biophysics and termini": biophysical,
    }
    if pooled is not None:
        _rows_of(list(needed), pd.Index(list(pooled)), "pooled embeddings")
        embeddings = pd.DataFrame({name: np.asarray(pooled[name]) for name in needed}).T
        noise = np.random.default_rng(seed).normal(size=embeddings.shape)
        tables["pooled embeddings"] = embeddings
        tables["random embeddings"] = pd.DataFrame(noise, index=embeddings.index)
    results = []
    for name, without_fit in {
        "constant": constant_baseline,
        "degree in training": degree_baseline,
        "hubs in training": hub_baseline,
        "interolog": partial(interolog_baseline, used),
    }.items():
        report(name)
        results.append(without_fit(train, validation, test))
    for what, table in tables.items():
        results += _fit_on(table, what, splits, seed, report)
    report("gradient boosting, permuted labels")
    return [*results, permuted_baseline(biophysical, splits, seed)]
