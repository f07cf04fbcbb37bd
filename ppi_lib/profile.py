"""`profile`: 960 numbers per residue from the sequence alone, nothing downloaded.

Three kinds of numbers, so that one linear layer can read a residue, its neighbourhood and its protein:
counts (a residue, a dipeptide, a conjoint triad: Shen et al. 2007, PNAS 104:4337; a pair of classes one
helix turn apart), windows (published scales averaged over 9, 21 and 61 residues, helical and strand
moments: Eisenberg et al. 1984, PNAS 81:140, local entropy, local composition), and the whole protein
(composition, both termini, extremes and shares of the windows), the same for each of its residues.

`profile_residues` is the definition; `profile_patches` is its mean over patches of 32, computed without
the `(L, 960)` rows.

Shape letters: L residues, P patches.
"""

import numpy as np

from ppi_lib.scales import UNKNOWN, encode_residues, scale_table, window_mean
from ppi_lib.whole import TERMINUS, biophysics, composition, local_entropy

VERSION = "1"
WIDTH = 960
PATCH = 32
# The seven classes of the conjoint triad, by dipole and side-chain volume.
_CLASSES = ("AGV", "ILFP", "YMTS", "HNQW", "RK", "DE", "C")
_CLASS_OF_CODE = np.array([next((i for i, c in enumerate(_CLASSES) if a in c), -1) for a in "ACDEFGHIKLMNPQRSTVWYX"])
_SCALE_NAMES = ("hydropathy", "disorder", "charge", "helix", "sheet", "turn", "volume")
_SCALES = scale_table(*_SCALE_NAMES)
_SCALES = (_SCALES - _SCALES[:UNKNOWN].mean(axis=0)) / _SCALES[:UNKNOWN].std(axis=0)
_RAW = scale_table("hydropathy", "disorder", "charge")
_COUNT_SIZES = (21, 400, 343, 49)
# How loud each kind speaks. The whole protein's numbers are divided by their spread among human proteins (the
# training proteins of bernett), so that each has about unit variance; the other kinds are kept well below, for
# they are many and would drown it.
_COUNT_WEIGHT, _WINDOW_WEIGHT, _TERMINUS_WEIGHT = 18.0, 0.1, 1.0
_COMPOSITION_SPREAD = 0.02
_BIOPHYSICS_SPREAD = np.array(
    [0.69, 0.58, 0.11, 0.11, 0.53, 0.077, 0.15, 0.14, 0.023, 0.03, 0.028, 0.13, 0.071, 0.05, 0.049, 0.15, 0.125, 0.43]
)


def _window_codes(codes: np.ndarray, size: int, offsets: tuple[int, ...]) -> np.ndarray:
    """Code the letters at `offsets` from each residue as one number; -1 where one is unknown or outside."""
    length, result = len(codes), np.zeros(len(codes), dtype=np.int64)
    for offset in offsets:
        position = np.arange(length) + offset
        inside = (position >= 0) & (position < length)
        letter = np.where(inside, codes[np.clip(position, 0, length - 1)], -1)
        result = np.where((result < 0) | (letter < 0) | (letter >= size), -1, result * size + letter)
    return result


def _count_codes(codes: np.ndarray) -> list[np.ndarray]:
    """Return, for each block of counts, the column that each residue adds one to, or -1."""
    classes = _CLASS_OF_CODE[codes]
    return [
        codes,
        _window_codes(codes, 20, (0, 1)),
        _window_codes(classes, 7, (-1, 0, 1)),
        _window_codes(classes, 7, (0, 4)),
    ]


def _moment(hydropathy: np.ndarray, degrees: float, window: int) -> np.ndarray:
    """Hydrophobic moment `(L,)` at one turn of `degrees` per residue."""
    angle = np.deg2rad(degrees) * np.arange(len(hydropathy))
    return np.abs(window_mean(hydropathy * np.exp(1j * angle), window))


def _windows(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the windowed numbers `(L, 55)` and the three classic windows `(L, 3)`."""
    length = len(codes)
    one_hot = np.eye(21)[codes]
    scaled, raw = _SCALES[codes], _RAW[codes]
    smooth = [window_mean(scaled, window) * window**0.5 for window in (9, 21, 61)]
    hydropathy = window_mean(raw[:, 0], 19)
    disorder = window_mean(raw[:, 1], 21)
    charge = window_mean(raw[:, 2], 15)
    entropy = local_entropy(codes)
    indicators = np.stack(
        [
            hydropathy > 1.6,
            window_mean(raw[:, 0], 9) > 2.0,
            disorder > 0.25,
            disorder < -0.05,
            charge > 0.2,
            charge < -0.2,
            entropy < 3.2,
        ],
        axis=1,
    )
    moments = np.stack([_moment(scaled[:, 0], 100, 18), _moment(scaled[:, 0], 170, 10)], axis=1)
    position = np.arange(length)
    place = np.stack(
        [
            position / length,
            np.exp(-position / 30),
            np.exp(-(length - 1 - position) / 30),
            np.log1p(position),
        ],
        axis=1,
    )
    local = window_mean(one_hot[:, :20], 61)
    numbers = np.concatenate([*smooth, indicators, moments, entropy[:, None], local, place], axis=1)
    return numbers, np.stack([hydropathy, disorder, charge], axis=1)


def _longest_run(values: np.ndarray) -> int:
    """Length of the longest run of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    return int(np.diff(np.concatenate([[0], edges, [len(values)]])).max())


def _runs(flags: np.ndarray) -> int:
    """Number of runs of ones in `flags (L,)`."""
    return int((np.diff(np.concatenate([[0], flags])) > 0).sum())


def _whole_protein(codes: np.ndarray, windows: np.ndarray, classic: np.ndarray) -> np.ndarray:
    """Return the numbers of the whole protein `(92,)`."""
    moments = windows[:, 28:30]
    runs = [_runs(windows[:, 21]), _runs(windows[:, 23]), _longest_run(codes)]
    return np.concatenate(
        [
            composition(codes) / _COMPOSITION_SPREAD,
            biophysics(codes) / _BIOPHYSICS_SPREAD,
            composition(codes[:TERMINUS]) * _TERMINUS_WEIGHT,
            composition(codes[-TERMINUS:]) * _TERMINUS_WEIGHT,
            np.quantile(classic, [0.1, 0.9], axis=0).ravel() / 3,
            moments.mean(axis=0),
            moments.max(axis=0),
            [windows[:, 22].mean()],
            np.log1p(runs) / 10,
        ]
    )


def profile_residues(sequence: str) -> np.ndarray:
    """Return the residue embeddings `(L, 960)`, float32, of one checked sequence."""
    codes = encode_residues(sequence)
    windows, classic = _windows(codes)
    counts = [
        _COUNT_WEIGHT * np.eye(size + 1)[column][:, :size]
        for size, column in zip(_COUNT_SIZES, _count_codes(codes), strict=True)
    ]
    whole = np.broadcast_to(_whole_protein(codes, windows, classic), (len(codes), 92))
    return np.concatenate([*counts, _WINDOW_WEIGHT * windows, whole], axis=1).astype(np.float32)


def profile_patches(sequence: str) -> np.ndarray:
    """Return the mean of `profile_residues` over each patch, `(P, 960)`, float32."""
    codes = encode_residues(sequence)
    starts = np.arange(0, len(codes), PATCH)
    patch, patches = np.arange(len(codes)) // PATCH, len(starts)
    size_of_patch = np.minimum(len(codes) - starts, PATCH)[:, None]
    windows, classic = _windows(codes)
    blocks = []
    for size, column in zip(_COUNT_SIZES, _count_codes(codes), strict=True):
        known = column >= 0
        counts = np.bincount(patch[known] * size + column[known], minlength=patches * size)
        blocks.append(_COUNT_WEIGHT * counts.reshape(patches, size) / size_of_patch)
    blocks.append(_WINDOW_WEIGHT * np.add.reduceat(windows, starts, axis=0) / size_of_patch)
    blocks.append(np.broadcast_to(_whole_protein(codes, windows, classic), (patches, 92)))
    return np.concatenate(blocks, axis=1).astype(np.float32)
