"""What an encoder's tokens say by themselves: linear models on the mean token of each protein.

To compare encoders (random and pretrained): no network is trained, scikit-learn fits a ridge or a logistic
regression on frozen tokens. A difference below that of two random seeds means nothing.

Shape letters: B pairs, N proteins, D model width.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ppi_lib.baselines import pair_features
from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs, check_classes
from ppi_lib.settings import resolve_precision
from ppi_lib.store import PatchStore
from ppi_lib.tokens import encode_proteins


class PairProbe(NamedTuple):
    auroc: float
    """Of the validation pairs."""
    probabilities: np.ndarray
    """Theirs, `(B,)`."""


class PropertyProbe(NamedTuple):
    r2: float
    """Share of the variance explained on proteins that were not fitted; negative if their mean would do better."""
    spearman: float
    """Rank correlation with the true values, -1 to 1."""
    predicted: np.ndarray
    """What is said of each of these proteins, `(N,)`."""


def mean_tokens(
    model, store: PatchStore, proteins: Iterable[str], *, precision: str = "auto", progress: bool = True
) -> pd.DataFrame:
    """Return the mean patch token of each protein `(N, D)`, indexed by its id; `model.encoder` makes them."""
    proteins = list(dict.fromkeys(proteins))
    dtype = resolve_precision(precision, model.encoder.cls_token.device)
    table = encode_proteins(model, store, proteins, dtype=dtype, progress=progress)
    tokens = table.rows[: int(table.counts.sum())].split(table.counts.tolist())
    return pd.DataFrame(torch.stack([rows.float().mean(dim=0) for rows in tokens]).cpu().numpy(), index=proteins)


def _take(tokens: pd.DataFrame, proteins: Iterable[str]) -> np.ndarray:
    rows = tokens.index.get_indexer(list(proteins))
    if (rows < 0).any():
        missing = next(protein for protein, row in zip(proteins, rows, strict=True) if row < 0)
        raise InputError(f"tokens lack {(rows < 0).sum():,} proteins, e.g. {missing}. Encode all that are probed.")
    return tokens.to_numpy()[rows]


def probe_pairs(
    tokens: pd.DataFrame, train: Pairs, validation: Pairs, *, most: int = 40_000, seed: int = 0
) -> PairProbe:
    """Fit a logistic regression on sum, |difference| and product of mean tokens, and say how it does on validation.

    It is fitted on `most` of the training pairs, drawn with `seed`.
    """
    check_classes(train, "training")
    check_classes(validation, "validation")
    train = train.take(np.sort(np.random.default_rng(seed).permutation(len(train))[:most]))
    scaler = StandardScaler().fit(_take(tokens, train.proteins))

    def features(pairs: Pairs) -> np.ndarray:
        return pair_features(*(scaler.transform(_take(tokens, side)) for side in (pairs.a, pairs.b)))

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-4, max_iter=200))
    model.fit(features(train), train.labels)
    probabilities = model.predict_proba(features(validation))[:, 1]
    return PairProbe(float(roc_auc_score(validation.labels, probabilities)), probabilities)


def _ridge() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(0, 5, 11)))


def _property_probe(truth: np.ndarray, found: np.ndarray) -> PropertyProbe:
    return PropertyProbe(float(r2_score(truth, found)), float(spearmanr(truth, found).statistic), found)


def probe_property(tokens: pd.DataFrame, train: Mapping[str, float], validation: Mapping[str, float]) -> PropertyProbe:
    """Fit a ridge regression from mean tokens to a number of each protein, and say how it does on other proteins."""
    shared = set(train) & set(validation)
    if shared:
        raise InputError(f"{len(shared)} proteins are in train and validation, e.g. {min(shared)}; expected none.")
    if min(len(train), len(validation)) < 2:
        raise InputError(
            f"train has {len(train)} proteins, validation {len(validation)}; expected two or more in each."
        )
    model = _ridge().fit(_take(tokens, train), np.array(list(train.values())))
    return _property_probe(np.array(list(validation.values())), model.predict(_take(tokens, validation)))


def cross_probe_property(
    tokens: pd.DataFrame,
    values: Mapping[str, float],
    groups: Mapping[str, Hashable],
    *,
    folds: int = 5,
    seed: int = 0,
) -> PropertyProbe:
    """Do as `probe_property` with one set of proteins: what is said of a part of them comes from a fit on the others.

    Proteins of one of `groups`, such as a cluster of relatives (`homology.cluster_proteins`), are in one part.
    """
    lacking = [protein for protein in values if protein not in groups]
    if lacking:
        raise InputError(f"groups lack {len(lacking)} proteins, e.g. {lacking[0]}; expected a group for each.")
    of = pd.factorize(np.array([groups[protein] for protein in values], dtype=object))[0]
    if not 2 <= folds <= len(set(of)):
        raise InputError(
            f"folds is {folds} and there are {len(set(of))} groups; expected 2 or more folds, and as many groups."
        )
    split = GroupKFold(folds, shuffle=True, random_state=seed)
    truth = np.array(list(values.values()))
    return _property_probe(truth, cross_val_predict(_ridge(), _take(tokens, values), truth, groups=of, cv=split))
