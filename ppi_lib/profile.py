"""`profile`: 960 numbers per residue from the sequence alone, nothing downloaded. Not a language model.

Four kinds of numbers, so that one linear layer can read a residue, its neighbourhood and its protein: counts (the
residue, and its dipeptides, projected), windows (published scales averaged over 5 to 41 residues, local entropy,
helical and strand moments: Eisenberg et al. 1984, PNAS 81:140), the same through soft thresholds, so that a patch's
mean is the share of its residues beyond a threshold (the idea of ROCKET's PPV: Dempster et al. 2020, Data Min Knowl
Disc 34:1454), and the whole protein (composition, both termini, extremes and shares of the windows), the same for
each of its residues.

`profile_residues` is the definition; `profile_patches` is its mean over patches of 32, computed without the
`(L, 960)` rows.

Shape letters: L residues, P patches.
"""

import hashlib

import numpy as np

from ppi_lib.scales import SCALES, UNKNOWN, encode_residues, scale_table, window_mean, window_means
from ppi_lib.whole import TERMINUS, biophysics, composition, local_entropies

VERSION = "2"
PATCH = 32
_WINDOWS = (5, 9, 15, 21, 31, 41)
_THRESHOLDS = np.array([-1.5, -0.75, 0.0, 0.75, 1.5])
_ENTROPY_WINDOWS = (11, 21, 41)
_ENTROPY_THRESHOLDS = np.array([2.0, 2.5, 3.0, 3.5, 4.0])
_NEXT, _ONE_APART = 256, 160
_WIDTHS = {
    "residues": 21,
    "dipeptides": _NEXT + _ONE_APART,
    "windows": len(SCALES) * len(_WINDOWS) + len(_ENTROPY_WINDOWS) + 2 + 4,
    "thresholds": len(SCALES) * len(_WINDOWS) * len(_THRESHOLDS) + len(_ENTROPY_WINDOWS) * len(_ENTROPY_THRESHOLDS),
    "whole protein": 103,
}
_ENDS = np.cumsum(list(_WIDTHS.values())).tolist()
GROUPS = {name: slice(end - width, end) for (name, width), end in zip(_WIDTHS.items(), _ENDS, strict=True)}
"""Where each kind of numbers stands."""
WIDTH = _ENDS[-1]
_SCALES = scale_table(*SCALES)
_SCALES = (_SCALES - _SCALES[:UNKNOWN].mean(axis=0)) / _SCALES[:UNKNOWN].std(axis=0)
# How loud each kind speaks. The whole protein's numbers are divided by their spread among human proteins (the
# training proteins of bernett), so that each has about unit variance; the other kinds are kept well below, for
# they are many and would drown it.
_COUNT_WEIGHT, _WINDOW_WEIGHT, _THRESHOLD_WEIGHT = 18.0, 0.1, 0.1
_COMPOSITION_SPREAD = 0.02
_BIOPHYSICS_SPREAD = np.array(
    [0.69, 0.58, 0.11, 0.11, 0.53, 0.077, 0.15, 0.14, 0.023, 0.03, 0.028, 0.13, 0.071, 0.05, 0.049, 0.15, 0.125, 0.43]
)


def _signs(size: int, name: str) -> np.ndarray:
    """Project the 400 dipeptides to `size` numbers by random signs, the bits of SHA-256 of `name` and the codes."""
    digests = [hashlib.sha256(f"{name} {code}".encode()).digest() for code in range(400)]
    bits = np.unpackbits(np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(400, 32), axis=1)[:, :size]
    return (2.0 * bits - 1) / size**0.5


_DIPEPTIDES = {1: _signs(_NEXT, "next"), 2: _signs(_ONE_APART, "one apart")}


def _dipeptide_codes(codes: np.ndarray, apart: int) -> np.ndarray:
    """Code each residue with the one `apart` behind it, 0..399; 400 where one is unknown or outside."""
    behind = np.full(len(codes), UNKNOWN)
    behind[:-apart] = codes[apart:]
    return np.where((codes == UNKNOWN) | (behind == UNKNOWN), 400, codes * 20 + behind)


def _moment(hydropathy: np.ndarray, degrees: float, window: int) -> np.ndarray:
    """Hydrophobic moment `(L,)` at one turn of `degrees` per residue."""
    angle = np.deg2rad(degrees) * np.arange(len(hydropathy))
    return np.abs(window_mean(hydropathy * np.exp(1j * angle), window))


def _place(length: int) -> np.ndarray:
    """Where a residue stands `(L, 4)`."""
    position = np.arange(length)
    ends = [np.exp(-position / 30), np.exp(-(length - 1 - position) / 30)]
    return np.stack([position / length, *ends, np.log1p(position)], axis=1)


def _windows(codes: np.ndarray) -> np.ndarray:
    """Return scales, entropy, moments and place `(L, 75)`; a scale in any window has about unit variance."""
    scaled = _SCALES[codes]
    means = window_means(scaled, *_WINDOWS)
    smooth = [mean * window**0.5 for mean, window in zip(means, _WINDOWS, strict=True)]
    entropy = [values[:, None] for values in local_entropies(codes, *_ENTROPY_WINDOWS)]
    moments = [_moment(scaled[:, 0], degrees, window)[:, None] for degrees, window in ((100.0, 18), (170.0, 10))]
    return np.concatenate([*smooth, *entropy, *moments, _place(len(codes))], axis=1)


def _above(values: np.ndarray, thresholds: np.ndarray, ramp: float) -> np.ndarray:
    """Say how far each of `values (L, C)` is above each threshold: 0 below, 1 above, on a ramp between."""
    above = values[:, :, None] - thresholds
    above /= ramp
    above += 0.5
    return np.clip(above, 0, 1, out=above).reshape(len(values), -1)


def _thresholds(windows: np.ndarray) -> np.ndarray:
    """Put the scales and the entropies of `windows` through the soft thresholds."""
    scales = len(SCALES) * len(_WINDOWS)
    entropy = windows[:, scales : scales + len(_ENTROPY_WINDOWS)]
    return np.concatenate(
        [_above(windows[:, :scales], _THRESHOLDS, 0.75), _above(entropy, _ENTROPY_THRESHOLDS, 0.5)], axis=1
    )


def _longest_run(values: np.ndarray) -> int:
    """Length of the longest run of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    return int(np.diff(np.concatenate([[0], edges, [len(values)]])).max())


def _runs(flags: np.ndarray) -> int:
    """Number of runs of ones in `flags (L,)`."""
    return int((np.diff(np.concatenate([[0], flags])) > 0).sum())


def _whole_protein(codes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return the numbers of the whole protein `(103,)`."""
    raw = scale_table("hydropathy", "disorder", "charge")[codes]
    classic = np.stack([window_mean(raw[:, i], window) for i, window in enumerate((19, 21, 15))], axis=1)
    widest = windows[:, len(SCALES) * (len(_WINDOWS) - 1) : len(SCALES) * len(_WINDOWS)]
    moments = windows[:, -6:-4]
    strongly = window_mean(raw[:, 0], 9) > 2.0
    runs = [_runs(classic[:, 0] > 1.6), _runs(classic[:, 1] > 0.25), _longest_run(codes)]
    return np.concatenate(
        [
            composition(codes) / _COMPOSITION_SPREAD,
            biophysics(codes) / _BIOPHYSICS_SPREAD,
            composition(codes[:TERMINUS]),
            composition(codes[-TERMINUS:]),
            np.quantile(classic, [0.1, 0.9], axis=0).ravel() / 3,
            moments.mean(axis=0),
            moments.max(axis=0),
            [strongly.mean()],
            np.log1p(runs) / 10,
            widest.std(axis=0),
        ]
    )


def profile_residues(sequence: str) -> np.ndarray:
    """Return the residue embeddings `(L, 960)`, float32, of one checked sequence."""
    codes = encode_residues(sequence)
    windows = _windows(codes)
    pairs = [np.vstack([signs, 0 * signs[:1]])[_dipeptide_codes(codes, apart)] for apart, signs in _DIPEPTIDES.items()]
    counts = _COUNT_WEIGHT * np.concatenate([np.eye(21)[codes], *pairs], axis=1)
    whole = np.broadcast_to(_whole_protein(codes, windows), (len(codes), _WIDTHS["whole protein"]))
    blocks = [counts, _WINDOW_WEIGHT * windows, _THRESHOLD_WEIGHT * _thresholds(windows), whole]
    return np.concatenate(blocks, axis=1).astype(np.float32)


def _count(patch: np.ndarray, column: np.ndarray, size: int) -> np.ndarray:
    """Count in each patch how often each of the columns below `size` stands `(P, size)`."""
    known = column < size
    patches = patch[-1] + 1
    return np.bincount(patch[known] * size + column[known], minlength=patches * size).reshape(patches, size)


def _sums(values: np.ndarray) -> np.ndarray:
    """Sum `values (L, C)` over each patch `(P, C)`."""
    whole = len(values) // PATCH * PATCH
    rest = values[whole:].sum(axis=0, keepdims=True)
    sums = values[:whole].reshape(-1, PATCH, values.shape[1]).sum(axis=1)
    return np.concatenate([sums, rest]) if whole < len(values) else sums


def profile_patches(sequence: str) -> np.ndarray:
    """Return the mean of `profile_residues` over each patch, `(P, 960)`, float32."""
    codes = encode_residues(sequence)
    starts = np.arange(0, len(codes), PATCH)
    patch = np.arange(len(codes)) // PATCH
    windows = _windows(codes)
    pairs = [_count(patch, _dipeptide_codes(codes, apart), 400) @ signs for apart, signs in _DIPEPTIDES.items()]
    sums = [
        _COUNT_WEIGHT * np.concatenate([_count(patch, codes, 21), *pairs], axis=1),
        _WINDOW_WEIGHT * _sums(windows),
        _THRESHOLD_WEIGHT * _sums(_thresholds(windows)),
    ]
    means = np.concatenate(sums, axis=1) / np.minimum(len(codes) - starts, PATCH)[:, None]
    whole = np.broadcast_to(_whole_protein(codes, windows), (len(starts), _WIDTHS["whole protein"]))
    return np.concatenate([means, whole], axis=1).astype(np.float32)
