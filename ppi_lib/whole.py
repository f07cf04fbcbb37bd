"""Numbers of a whole protein that its sequence gives away cheaply.

Composition; and biophysics: log length; maximum, minimum and spread of hydropathy (Kyte and Doolittle 1982) in
windows of 19, of disorder (TOP-IDP, Campen et al. 2008) in windows of 21 and of charge in windows of 15; the
shares of windows beyond a threshold; local entropy. At the ends a window is cut.

Shape letters: L residues. Residues come as codes, see `scales.encode_residues`.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Int

from ppi_lib.scales import scale_table, window_mean, window_sums

_SCALES = scale_table("hydropathy", "disorder", "charge")
_WINDOWS = (19, 21, 15)
TERMINUS = 50
"""Residues that count as an end of the protein."""
BIOPHYSICS = [
    "log_length",
    *(f"{scale}_{number}" for number in ("max", "min", "std") for scale in ("hydropathy", "disorder", "charge")),
    *(
        "hydrophobic_share",
        "disordered_share",
        "ordered_share",
        "positive_share",
        "negative_share",
        "simple_share",
    ),
    *("entropy_mean", "entropy_min"),
]
"""Names of the numbers of `biophysics`."""


def composition(codes: Int[np.ndarray, " L"]) -> Float[np.ndarray, " 20"]:
    """Shares of the 20 residues; unknown ones count in the length only."""
    return np.bincount(codes, minlength=21)[:20] / len(codes)


@cache
def _entropy_terms(window: int) -> Float[np.ndarray, "N C"]:
    """What a residue adds to the entropy that stands C times among the N positions of a window."""
    shares = np.arange(window + 1) / np.maximum(np.arange(window + 1), 1)[:, None]
    return shares * np.log2(np.maximum(shares, 1e-12))


def local_entropies(codes: Int[np.ndarray, " L"], *windows: int) -> list[Float[np.ndarray, " L"]]:
    """Entropy in bits of the residues in each window about each residue `(L,)`."""
    return [
        -_entropy_terms(window | 1)[counts[:, None], sums].sum(axis=1)
        for window, (sums, counts) in zip(windows, window_sums(np.eye(21, dtype=int)[codes], *windows), strict=True)
    ]


def local_entropy(codes: Int[np.ndarray, " L"], window: int = 21) -> Float[np.ndarray, " L"]:
    """Entropy in bits of the residues in one window about each residue `(L,)`."""
    return local_entropies(codes, window)[0]


def biophysics(codes: Int[np.ndarray, " L"]) -> Float[np.ndarray, " 18"]:
    """The 18 biophysical numbers of one protein, as named in `BIOPHYSICS`."""
    values = _SCALES[codes]
    windows = np.stack([window_mean(values[:, i], window) for i, window in enumerate(_WINDOWS)], axis=1)
    hydropathy, disorder, charge = windows.T
    entropy = local_entropy(codes)
    flags = (hydropathy > 1.6, disorder > 0.25, disorder < -0.05, charge > 0.2, charge < -0.2, entropy < 3.2)
    spread = (windows.max(axis=0), windows.min(axis=0), windows.std(axis=0))
    shares = [flag.mean() for flag in flags]
    return np.concatenate([[np.log(len(codes))], *spread, shares, [entropy.mean(), entropy.min()]])
