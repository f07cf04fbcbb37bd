"""Does an attribution find the residues that are known to matter? Known sites, and what chance would find.

A patch belongs to a site if it holds at least half of what it could hold of it: 16 residues of a domain, 8 of a motif
of 16. So a patch that a site only grazes is no hit.

The null is a site of the same length, moved to a random place of the same protein. It keeps the protein and how long
the site is, so it also answers to an attribution that only prefers the ends, or one of the two proteins.

Shape letters: P patches of a protein, T patches of both proteins, R random draws.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from ppi_lib.errors import InputError
from ppi_lib.explained import PatchAttribution
from ppi_lib.pair_inputs import Coordinates

LEAST = 3
"""Residues of an interface that make a patch one of its own."""
Site = tuple[int, int]
"""First residue, from 0, and one past the last."""


def patches_of_site(site: Site, length: int, patch: int = 32) -> Bool[np.ndarray, " P"]:
    """Say which patches of a protein of `length` residues hold at least half of what they could hold of `site`."""
    starts = np.arange(0, length, patch)
    stops = np.minimum(starts + patch, length)  # the last patch may be short
    held = np.minimum(stops, site[1]) - np.maximum(starts, site[0])
    return held >= np.minimum(stops - starts, site[1] - site[0]) / 2


def patches_of_residues(residues: Collection[int], length: int, patch: int = 32) -> Bool[np.ndarray, " P"]:
    """Say which patches hold at least `LEAST` of `residues` (from 0): an interface is scattered over a sequence."""
    held = np.bincount(np.fromiter(residues, dtype=int) // patch, minlength=-(-length // patch))
    return held >= LEAST


def auroc(scores: Float[np.ndarray, " T"], inside: Bool[np.ndarray, " T"]) -> float:
    """Return the chance that a patch inside scores above one outside; NaN if all are on one side."""
    if not 0 < inside.sum() < len(inside):
        return float("nan")
    difference = scores[inside][:, None] - scores[~inside]  # a few hundred numbers, thousands of times
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


class Found(NamedTuple):
    """How one attribution meets what is known of its pair."""

    hit: float
    """1 if the patch with the highest score of both proteins is inside, else 0."""
    hit_a: float
    """The same among the patches of A alone."""
    hit_b: float
    auroc: float
    """Over the patches of both proteins; NaN if all or none are inside."""
    auroc_a: float
    auroc_b: float
    enrichment: float
    """Share of the positive scores that lie inside, over the share of the patches that do."""


def meet(scores: Float[np.ndarray, " T"], inside: Bool[np.ndarray, " T"], patches_a: int) -> Found:
    """Hold the scores of a pair against the patches that are `inside`."""
    parts = [(scores[part], inside[part]) for part in (slice(None), slice(patches_a), slice(patches_a, None))]
    hits = [float(known[found.argmax()]) for found, known in parts]
    gains = scores.clip(min=0)
    expected = gains.sum() * inside.mean()
    enrichment = float(gains[inside].sum() / expected) if expected > 0 else float("nan")
    return Found(*hits, *(auroc(*part) for part in parts), enrichment)


def _proteins(where: Coordinates) -> tuple[tuple[str, int], tuple[str, int]]:
    return (where.protein_a, where.length_a), (where.protein_b, where.length_b)


def _site_patches(sites: Mapping[str, Sequence], where: Coordinates) -> Bool[np.ndarray, " T"]:
    for protein, length in _proteins(where):
        if protein not in sites:
            raise InputError(f"sites hold nothing of {protein}; expected the site of both proteins of each pair.")
        if not 0 <= sites[protein][0] < sites[protein][1] <= length:
            raise InputError(
                f"The site of {protein} is {tuple(sites[protein][:2])}; expected first residue (from 0) and one past "
                f"the last, within its {length} residues."
            )
    return np.concatenate([patches_of_site(sites[p][:2], length, where.patch) for p, length in _proteins(where)])


def _moved(sites: Mapping[str, Sequence], where: Coordinates, generator: np.random.Generator) -> dict[str, Site]:
    """Put the site of each protein at a random place of it, as long as it was."""
    moved = {}
    for protein, length in _proteins(where):
        size = sites[protein][1] - sites[protein][0]
        start = int(generator.integers(0, length - size + 1))
        moved[protein] = (start, start + size)
    return moved


def _row(one: PatchAttribution, inside: Bool[np.ndarray, " T"], nulls: Bool[np.ndarray, "R T"]) -> dict:
    where = one.coordinates
    found = meet(one.scores, inside, where.patches_a)
    drawn = [meet(one.scores, null, where.patches_a) for null in nulls]
    chance = pd.DataFrame(drawn, columns=Found._fields).mean()
    about = {"protein_a": where.protein_a, "protein_b": where.protein_b, "method": one.method}
    return {**about, **found._asdict(), **chance.add_suffix("_null")}


def find_sites(
    attributions: Sequence[PatchAttribution], sites: Mapping[str, Sequence], *, draws: int = 20, seed: int = 0
) -> pd.DataFrame:
    """Hold attributions against the sites of their proteins, such as `Dataset.sites`: one row a pair.

    Columns: `protein_a`, `protein_b`, `method`, the fields of `Found`, and the same with `_null`, the mean over `draws`
    sites of the same lengths at random places.
    """
    generator, rows = np.random.default_rng(seed), []
    for one in attributions:
        where = one.coordinates
        inside = _site_patches(sites, where)
        nulls = [_site_patches(_moved(sites, where, generator), where) for _ in range(draws)]
        rows.append(_row(one, inside, np.array(nulls)))
    return pd.DataFrame(rows)


def find_interfaces(
    attributions: Sequence[PatchAttribution],
    interfaces: Mapping[tuple[str, str], tuple[Collection[int], Collection[int]]],
    *,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Hold attributions against the interface residues (from 0) of both proteins of each pair; columns as `find_sites`.

    The null turns each interface along its protein by a random number of residues, the end joined to the start.
    """
    generator, rows = np.random.default_rng(seed), []
    for one in attributions:
        where = one.coordinates
        pair = (where.protein_a, where.protein_b)
        if pair not in interfaces:
            raise InputError(f"interfaces hold nothing of {pair}; expected the residues of both proteins of each pair.")
        sides = list(zip(interfaces[pair], (length for _, length in _proteins(where)), strict=True))
        for (protein, length), (residues, _) in zip(_proteins(where), sides, strict=True):
            if not len(residues) or min(residues) < 0 or max(residues) >= length:
                raise InputError(f"The interface of {protein} in {pair} is empty or outside its {length} residues.")
        nulls = [_turned(sides, generator, where.patch) for _ in range(draws)]
        rows.append(_row(one, _turned(sides, None, where.patch), np.array(nulls)))
    return pd.DataFrame(rows)


def _turned(sides, generator: np.random.Generator | None, patch: int) -> Bool[np.ndarray, " T"]:
    """Return the patches of both interfaces, each turned by a random number of residues if there is a generator."""
    parts = []
    for residues, length in sides:
        by = 0 if generator is None else int(generator.integers(length))
        parts.append(patches_of_residues([(residue + by) % length for residue in residues], length, patch))
    return np.concatenate(parts)


def summarise_truth(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means of `find_sites` or `find_interfaces` by method, with the nulls beside them."""
    means = rows.groupby("method", sort=False).mean(numeric_only=True)
    return means[[name for field in Found._fields for name in (field, f"{field}_null")]]
