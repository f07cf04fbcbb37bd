"""The demo: made-up proteins of which it is known what interacts, and by which residues.

A protein carries one motif, of a family and in a role, lock or key; a lock and a key of the same family
interact. All motifs are orders of one set of residues, and each protein carries a shuffled one as decoy, so
that composition says nothing; positives and negatives of a protein are about as many, so degree doesn't
either.

Shape letters: N proteins, C candidates, M motif residues. Kind 2f is the lock, 2f + 1 the key of family f.
"""

from typing import NamedTuple

import numpy as np

from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs
from ppi_lib.scales import STANDARD

# Per cent of the residues of 11,019 human proteins (the bernett set), in the order of STANDARD.
_HUMAN = np.array([7.1, 2.1, 4.9, 7.3, 3.5, 6.5, 2.6, 4.2, 5.8, 10.0, 2.1, 3.6, 6.4, 4.9, 5.7, 8.4, 5.3, 6.0, 1.2, 2.6])


class Planted(NamedTuple):
    sequences: dict[str, str]
    sites: dict[str, tuple[int, int, str]]
    """First residue (from 0), one past the last, and role and family of each protein's motif."""


def _random_residues(count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.choice(20, count, p=_HUMAN / _HUMAN.sum())


def _plant_both(motif: np.ndarray, decoy: np.ndarray, median: int, generator: np.random.Generator) -> tuple[str, int]:
    """Return a sequence that holds `motif (M,)` and, beside it, `decoy`; and where the motif starts."""
    length = int(np.clip(generator.lognormal(np.log(median), 0.5), 60, 1200))
    codes = _random_residues(length, generator)
    first, second = np.sort(generator.integers(0, length - 2 * len(motif) + 1, 2))
    starts = generator.permutation([first, second + len(motif)])
    for start, planted in zip(starts, (motif, decoy), strict=True):
        codes[start : start + len(motif)] = planted
    return "".join(STANDARD[code] for code in codes), int(starts[0])


def plant_motifs(
    kinds: np.ndarray, motif_length: int, mutated: float, median_length: int, generator: np.random.Generator
) -> Planted:
    """Make a protein of each of `kinds (N,)`."""
    residues = _random_residues(motif_length, generator)
    motifs = [generator.permutation(residues) for _ in range(kinds.max() + 1)]
    planted = Planted({}, {})
    for number, kind in enumerate(kinds, start=1):
        changed = generator.random(motif_length) < mutated
        motif = np.where(changed, _random_residues(motif_length, generator), motifs[kind])
        decoy = generator.permutation(residues)
        name = f"DEMO{number:04d}"
        planted.sequences[name], start = _plant_both(motif, decoy, median_length, generator)
        planted.sites[name] = (start, start + motif_length, f"{('lock', 'key')[kind % 2]} {kind // 2 + 1}")
    return planted


def _draw(candidates: np.ndarray, count: int, left: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw `count` of the pairs `(C, 2)`, each protein at most `left` times, and more only if it must."""
    waiting, chosen = generator.permutation(candidates).tolist(), []
    if len(waiting) < count:
        raise InputError(
            f"{count:,} pairs of a class asked for, {len(waiting):,} possible; expected no more. "
            "Make more proteins or fewer pairs."
        )
    while len(chosen) < count:
        later = []
        for a, b in waiting:
            if left[a] > 0 and left[b] > 0 and len(chosen) < count:
                left[[a, b]] -= 1
                chosen.append((a, b))
            else:
                later.append((a, b))
        waiting = later
        left += len(chosen) < count
    return np.array(chosen)


def draw_pairs(ids: np.ndarray, kinds: np.ndarray, count: int, generator: np.random.Generator) -> Pairs:
    """Draw `count` pairs, half of them positive; a fifth of the negatives are two locks or two keys."""
    one, other = np.triu_indices(len(ids), k=1)
    family, role = kinds // 2, kinds % 2
    lock_and_key, same = role[one] != role[other], family[one] == family[other]
    candidates = np.stack([one, other], axis=1)
    positive = count // 2
    left = np.full(len(ids), -(-2 * positive // len(ids)))
    positives = _draw(candidates[lock_and_key & same], positive, left, generator)
    left = np.bincount(positives.ravel(), minlength=len(ids))
    alike = _draw(candidates[~lock_and_key], positive // 5, left, generator)
    unlike = _draw(candidates[lock_and_key & ~same], count - positive - positive // 5, left, generator)
    pairs = np.concatenate([positives, alike, unlike])
    swapped = np.where(generator.random((len(pairs), 1)) < 0.5, pairs[:, ::-1], pairs)
    labels = (np.arange(len(pairs)) < positive).astype(np.float32)
    ordered = Pairs(a=ids[swapped[:, 0]], b=ids[swapped[:, 1]], labels=labels, notes=())
    return ordered.take(generator.permutation(len(pairs)))
