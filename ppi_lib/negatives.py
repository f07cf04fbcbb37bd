"""Pairs that are taken not to interact, drawn in one of three ways; what a model learns hangs on which.

`uniform`: any two proteins, so that a model can go by how often a protein stands among the positives. `degree`: each
protein stands in as many negatives, times the ratio, as positives, so that it can't (and pairs among hubs that do
interact but aren't known come in more often). `compartment`: two proteins of one place in the cell, the hardest, which
takes away what places tell.

Shape letters: B pairs, N proteins.
"""

from collections.abc import Mapping, Set
from dataclasses import replace

import numpy as np

from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs, check_seed

SCHEMES = ("uniform", "degree", "compartment")
_ROUNDS = 200


def _keys(pairs: np.ndarray, count: int) -> np.ndarray:
    """One number for each of `pairs` `(B, 2)`, the same in either order."""
    return pairs.min(axis=1) * count + pairs.max(axis=1)


def _accept(candidates: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Say which are of two proteins, not among the `known` keys, and there for the first time `(B,)`."""
    keys = _keys(candidates, count)
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first & (candidates[:, 0] != candidates[:, 1]) & ~np.isin(keys, known)


def _draw_uniform(positives: np.ndarray, wanted: int, count: int, allowed, generator) -> np.ndarray:
    """Draw pairs of any two proteins that `allowed` accepts."""
    known, found = _keys(positives, count), np.zeros((0, 2), dtype=int)
    for _ in range(_ROUNDS):
        drawn = generator.integers(0, count, (2 * wanted + 100, 2))
        joined = np.concatenate([found, drawn[allowed(drawn)]])
        found = joined[_accept(joined, known, count)][:wanted]
        if len(found) == wanted:
            return found
    raise _too_many(wanted, len(found))


def _draw_matched(positives: np.ndarray, ratio: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Pair the ends of the positives anew; ends that may not meet are dealt again together with as many others."""
    known, ends = _keys(positives, count), np.tile(positives, (ratio, 1))
    pairs = generator.permutation(ends.ravel()).reshape(-1, 2)
    for _ in range(_ROUNDS):
        good = _accept(pairs, known, count)
        if good.all():
            return pairs
        bad = np.flatnonzero(~good)
        others = generator.permutation(np.flatnonzero(good))[: 2 * len(bad) + 10]
        again = np.concatenate([bad, others])
        pairs[again] = generator.permutation(pairs[again].ravel()).reshape(-1, 2)
    raise _too_many(len(pairs), int(_accept(pairs, known, count).sum()))


def _too_many(wanted: int, found: int) -> InputError:
    return InputError(
        f"{wanted:,} negatives asked for, {found:,} found; expected fewer than the pairs that are left. Take a smaller "
        "ratio, another scheme, or more proteins."
    )


def _shared_place(compartments: Mapping[str, Set[str]], ids: np.ndarray):
    """Return a function that says which of `pairs` `(B, 2)` share a compartment."""
    lacking = [one for one in ids if one not in compartments]
    if lacking:
        raise InputError(
            f"compartments lack {len(lacking):,} proteins of the pairs, such as {lacking[0]}; expected every one. Add "
            "them, or leave their pairs out."
        )
    places = sorted({place for one in ids for place in compartments[one]})
    table = np.array([[place in compartments[one] for place in places] for one in ids])
    return lambda pairs: (table[pairs[:, 0]] & table[pairs[:, 1]]).any(axis=1)


def draw_negatives(
    positives: Pairs,
    *,
    scheme: str = "degree",
    ratio: int = 1,
    compartments: Mapping[str, Set[str]] | None = None,
    seed: int = 0,
) -> Pairs:
    """Return `positives` and, for each, `ratio` negatives among the same proteins, drawn by one of `SCHEMES`.

    No negative is a positive, a protein with itself, or there twice. `compartments` gives each protein's places.
    """
    check_seed(seed)
    if scheme not in SCHEMES:
        raise InputError(f"scheme is {scheme!r}; expected one of {', '.join(SCHEMES)}.")
    if (scheme == "compartment") != (compartments is not None):
        raise InputError(f"scheme is {scheme!r}; expected compartments with 'compartment', and only then.")
    if ratio < 1:
        raise InputError(f"ratio is {ratio}; expected at least 1 negative for each positive.")
    if positives.labels is not None and not (positives.labels == 1).all():
        raise InputError(f"{int((positives.labels != 1).sum()):,} pairs are labelled 0; expected positives only.")
    ids = np.array(positives.proteins, dtype=object)
    numbers = np.searchsorted(ids.astype(str), np.stack([positives.a, positives.b], axis=1).astype(str))
    generator, wanted = np.random.default_rng(seed), ratio * len(positives)
    if scheme == "degree":
        drawn = _draw_matched(numbers, ratio, len(ids), generator)
    else:
        allowed = (lambda pairs: slice(None)) if compartments is None else _shared_place(compartments, ids)
        drawn = _draw_uniform(numbers, wanted, len(ids), allowed, generator)
    a, b = (np.concatenate([given, ids[drawn[:, i]]]) for i, given in enumerate((positives.a, positives.b)))
    labels = np.repeat([1, 0], [len(positives), wanted]).astype(np.float32)
    note = f"{wanted:,} negatives drawn by the scheme {scheme!r}, {ratio} for each positive (seed {seed})."
    both = Pairs(a=a, b=b, labels=labels, notes=()).take(generator.permutation(len(labels)))
    return replace(both, notes=(*positives.notes, note))
