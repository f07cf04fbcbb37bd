"""The demo: made-up proteins of which it is known what interacts, and by which residues.

A lock carries the domain of its family, as long as real domains are and degenerate: some positions are conserved, the
others are free. A key carries its family's short linear motif. A lock and a key of the same family interact, nothing
else. The conserved residues of all domains are orders of one set, so are those of all motifs, and each protein carries
a shuffled domain or motif as decoy: composition does not tell the family. Each protein has exactly as many negatives as
positives, so degree says nothing either; most negatives are the right lock with a wrong key.

Shape letters: N proteins, M residues of a domain or motif. Kind 2f is the lock, 2f + 1 the key of family f.
"""

from typing import NamedTuple

import numpy as np

from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs
from ppi_lib.scales import STANDARD

# Per cent of the residues of 11,019 human proteins (the bernett set), in the order of STANDARD.
_HUMAN = np.array([7.1, 2.1, 4.9, 7.3, 3.5, 6.5, 2.6, 4.2, 5.8, 10.0, 2.1, 3.6, 6.4, 4.9, 5.7, 8.4, 5.3, 6.0, 1.2, 2.6])
_ALIKE = 0.1
_ROUNDS = 1000


class Signature(NamedTuple):
    """What a family's domains or motifs have in common."""

    residues: np.ndarray
    """Codes `(M,)`."""
    kept: np.ndarray
    """Chance of each to be kept `(M,)`; else any residue stands there."""


class Planted(NamedTuple):
    sequences: dict[str, str]
    sites: dict[str, tuple[int, int, str]]
    """First residue (from 0), one past the last, and role and family of each protein's domain or motif."""


def _random_residues(count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.choice(20, count, p=_HUMAN / _HUMAN.sum())


def _human_set(size: int) -> np.ndarray:
    """Return `size` residues as near to the human frequencies as they go."""
    exact = size * _HUMAN / _HUMAN.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: size - counts.sum()]] += 1
    return np.repeat(np.arange(20), counts)


def _signatures(families: int, size: int, conserved: float, kept: float, generator: np.random.Generator):
    """Return a signature for each family; `conserved` of the positions are kept with chance `kept`."""
    count = round(conserved * size)
    signatures = []
    for _ in range(families):
        positions = generator.permutation(size)[:count]
        signature = Signature(np.zeros(size, dtype=int), np.zeros(size))
        signature.residues[positions] = generator.permutation(_human_set(count))
        signature.kept[positions] = kept
        signatures.append(signature)
    return signatures


def _express(signature: Signature, generator: np.random.Generator) -> np.ndarray:
    """Return one protein's copy of a signature `(M,)`."""
    size = len(signature.residues)
    return np.where(generator.random(size) < signature.kept, signature.residues, _random_residues(size, generator))


def _plant_both(site: np.ndarray, decoy: np.ndarray, length: int, generator: np.random.Generator) -> tuple[str, int]:
    """Return a sequence that holds `site (M,)` and, apart from it, `decoy (M,)`; and where the site starts."""
    codes = _random_residues(length, generator)
    first, second = np.sort(generator.integers(0, length - 2 * len(site) + 1, 2))
    starts = generator.permutation([first, second + len(site)])
    for start, planted in zip(starts, (site, decoy), strict=True):
        codes[start : start + len(site)] = planted
    return "".join(STANDARD[code] for code in codes), int(starts[0])


def plant_sites(
    kinds: np.ndarray, *, domain: int, motif: int, conserved: float, median: int, generator: np.random.Generator
) -> Planted:
    """Make a protein of each of `kinds (N,)`; lengths are log-normal, within twice the domain and 1,502."""
    families = int(kinds.max()) // 2 + 1
    locks = _signatures(families, domain, conserved, 0.9, generator)
    keys = _signatures(families, motif, 1.0, 0.9, generator)
    planted = Planted({}, {})
    for number, kind in enumerate(kinds, start=1):
        family, role = divmod(kind, 2)
        site, other = (_express((locks, keys)[role][f], generator) for f in (family, generator.integers(families)))
        length = int(np.clip(generator.lognormal(np.log(median), 0.5), 2 * domain, 1502))
        name = f"DEMO{number:04d}"
        planted.sequences[name], start = _plant_both(site, generator.permutation(other), length, generator)
        planted.sites[name] = (start, start + len(site), f"{('lock', 'key')[role]} {family + 1}")
    return planted


def _draw_positives(kinds: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `count` pairs of lock and key of one family `(count, 2)`; some proteins stand in more of them."""
    candidates = np.concatenate(
        [
            np.stack(np.meshgrid(np.flatnonzero(kinds == kind), np.flatnonzero(kinds == kind + 1)), -1).reshape(-1, 2)
            for kind in range(0, kinds.max(), 2)
        ]
    )
    if len(candidates) < 2 * count:
        raise InputError(
            f"{count:,} positive pairs asked for, {len(candidates):,} possible; expected at most half of them. "
            "Make more proteins or fewer pairs."
        )
    sociable = generator.lognormal(0, 0.5, len(kinds))
    weight = sociable[candidates].prod(axis=1)
    return candidates[generator.choice(len(candidates), count, replace=False, p=weight / weight.sum())]


def _match_negatives(positives: np.ndarray, kinds: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Pair the same proteins, each as often, so that none interact.

    Most pairs are a lock and a key of different families; a tenth of the locks and of the keys go among themselves.
    Pairs that may not be are dealt again together with as many others, until all may.
    """
    locks, keys = positives.T
    alike = 2 * round(_ALIKE * len(positives) / 2)
    shuffled = [generator.permutation(column) for column in (locks, keys)]
    among = [column[:alike].reshape(-1, 2) for column in shuffled]
    pairs = np.concatenate([*among, np.stack([column[alike:] for column in shuffled], axis=1)])
    part = np.repeat([0, 1, 2], [alike // 2, alike // 2, len(pairs) - alike])
    for _ in range(_ROUNDS):
        bad = _forbidden(pairs, kinds)
        if not bad.any():
            return pairs
        for number in range(3):
            rows = np.flatnonzero(bad & (part == number))
            others = generator.permutation(np.flatnonzero(~bad & (part == number)))[: len(rows) + 1]
            again = np.concatenate([rows, others]) if len(rows) else rows
            pairs[again, 1] = generator.permutation(pairs[again, 1])
    raise InputError("No negatives with the degrees of the positives were found. Make more proteins or fewer pairs.")


def _forbidden(pairs: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Say which pairs interact, are of one protein, or stood before."""
    a, b = np.sort(pairs, axis=1).T
    interact = kinds[a] // 2 == kinds[b] // 2
    interact &= kinds[a] != kinds[b]
    repeated = np.ones(len(pairs), dtype=bool)
    repeated[np.unique(a * len(kinds) + b, return_index=True)[1]] = False
    return interact | repeated | (a == b)


def draw_pairs(ids: np.ndarray, kinds: np.ndarray, count: int, generator: np.random.Generator) -> Pairs:
    """Draw `count` pairs, half of them positive; each protein stands in as many of either class."""
    positives = _draw_positives(kinds, count // 2, generator)
    pairs = np.concatenate([positives, _match_negatives(positives, kinds, generator)])
    swapped = np.where(generator.random((len(pairs), 1)) < 0.5, pairs[:, ::-1], pairs)
    labels = (np.arange(len(pairs)) < len(positives)).astype(np.float32)
    ordered = Pairs(a=ids[swapped[:, 0]], b=ids[swapped[:, 1]], labels=labels, notes=())
    return ordered.take(generator.permutation(len(pairs)))
