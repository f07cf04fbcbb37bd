"""Pairs that are taken not to interact, drawn in one of three ways; what a model learns hangs on which.

`uniform`: any two proteins, so that a model can go by how often a protein stands among the positives. `degree`: each
protein stands in as many negatives, times the ratio, as positives (one with itself counts two), so that it can't (and
pairs among hubs that do interact but aren't known come in more often). `compartment`: two proteins of one place in the
cell, the hardest, which takes away what places tell.

Shape letters: B pairs, N proteins.
"""

from collections.abc import Mapping, Set
from dataclasses import replace

import numpy as np

from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs, check_seed

SCHEMES = ("uniform", "degree", "compartment")
_ROUNDS = 200
_TRIES = 1000


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


def _draw_matched(positives: np.ndarray, ratio: int, count: int, generator) -> tuple[np.ndarray, int]:
    """Pair the ends of the positives anew; return the pairs, and how many could not be had with these ends.

    A pair that may not be swaps an end with one that may, if both are then fine; where no swap is found its ends are
    drawn again, in proportion to the degrees.
    """
    known = _keys(positives, count)
    pairs = generator.permutation(np.tile(positives, (ratio, 1)).ravel()).reshape(-1, 2)
    good = _accept(pairs, known, count)
    taken = {*known.tolist(), *_keys(pairs[good], count).tolist()}
    mended = np.flatnonzero(good).tolist()
    left = []
    for bad in np.flatnonzero(~good):
        if not _swap(pairs, bad, mended, taken, count, generator):
            left.append(bad)
        else:
            mended.append(bad)
    if left:
        pairs[left] = _draw_by_degree(positives, len(left), taken, count, generator)
    return pairs, len(left)


def _swap(pairs: np.ndarray, bad: int, mended: list[int], taken: set[int], count: int, generator) -> bool:
    """Swap ends of the bad pair and a good one, in place, if there is one with which both are fine."""
    for pick in generator.integers(0, max(len(mended), 1), _TRIES if mended else 0):
        other = mended[pick]
        (a, b), (c, d) = pairs[bad].tolist(), pairs[other].tolist()
        if generator.random() < 0.5:
            c, d = d, c
        one, two = min(a, d) * count + max(a, d), min(c, b) * count + max(c, b)
        if a != d and c != b and one != two and one not in taken and two not in taken:
            taken.remove(min(c, d) * count + max(c, d))
            taken.update((one, two))
            pairs[bad], pairs[other] = (a, d), (c, b)
            return True
    return False


def _draw_by_degree(positives: np.ndarray, wanted: int, taken: set[int], count: int, generator) -> np.ndarray:
    """Draw pairs whose ends are drawn as often as they stand among the positives."""
    ends, known, found = positives.ravel(), np.array(sorted(taken)), np.zeros((0, 2), dtype=int)
    for _ in range(_ROUNDS):
        found = np.concatenate([found, generator.choice(ends, (2 * wanted + 100, 2))])
        found = found[_accept(found, known, count)][:wanted]
        if len(found) == wanted:
            return found
    raise _too_many(wanted, len(found))


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
    if not len(positives):
        raise InputError(
            "There are no positive pairs; expected at least one to draw negatives for. Give pairs labelled 1."
        )
    ids = np.array(positives.proteins, dtype=object)
    numbers = np.searchsorted(ids.astype(str), np.stack([positives.a, positives.b], axis=1).astype(str))
    generator, wanted = np.random.default_rng(seed), ratio * len(positives)
    left = len(ids) * (len(ids) - 1) // 2 - len(np.unique(_keys(numbers[numbers[:, 0] != numbers[:, 1]], len(ids))))
    if wanted > left:
        raise _too_many(wanted, left)
    unmatched = ""
    if scheme == "degree":
        drawn, count = _draw_matched(numbers, ratio, len(ids), generator)
        unmatched = f"; {count:,} of them could not match the degrees exactly" if count else ""
    else:
        allowed = (lambda pairs: slice(None)) if compartments is None else _shared_place(compartments, ids)
        drawn = _draw_uniform(numbers, wanted, len(ids), allowed, generator)
    a, b = (np.concatenate([given, ids[drawn[:, i]]]) for i, given in enumerate((positives.a, positives.b)))
    labels = np.repeat([1, 0], [len(positives), wanted]).astype(np.float32)
    alone = int((positives.a == positives.b).sum())
    told = (
        f"; {alone:,} positives are of a protein with itself and no negative is, which tells their label"
        if alone
        else ""
    )
    how = f"{wanted:,} negatives drawn by the scheme {scheme!r}, {ratio} for each positive (seed {seed})"
    note = f"{how}{unmatched}{told}."
    both = Pairs(a=a, b=b, labels=labels, notes=()).take(generator.permutation(len(labels)))
    return replace(both, notes=(*positives.notes, note))
