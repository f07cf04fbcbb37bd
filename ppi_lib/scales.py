"""Published numbers per amino acid, and the windows in which they are read.

A residue is coded 0..19 in the order of `STANDARD`; 20 stands for an unknown residue (X), to which
every scale gives its mean over the twenty.

Shape letters: L residues.
"""

from collections.abc import Iterator

import numpy as np

STANDARD = "ACDEFGHIKLMNPQRSTVWY"
UNKNOWN = 20

# Values in the order of STANDARD.
_VALUES = {
    # Kyte and Doolittle 1982, J Mol Biol 157:105
    "hydropathy": "1.8 2.5 -3.5 -3.5 2.8 -0.4 -3.2 4.5 -3.9 3.8 1.9 -3.5 -1.6 -3.5 -4.5 -0.8 -0.7 4.2 -0.9 -1.3",
    # TOP-IDP, Campen et al. 2008, Protein Pept Lett 15:956
    "disorder": "0.06 0.02 0.192 0.736 -0.697 0.166 0.303 -0.486 0.586 -0.326 -0.397 0.007 0.987 0.318 0.18 "
    "0.341 0.059 -0.121 -0.884 -0.51",
    # net charge at pH 7, histidine a tenth
    "charge": "0 0 -1 -1 0 0 0.1 0 1 0 0 0 0 0 1 0 0 0 0 0",
    # Chou and Fasman 1978, Annu Rev Biochem 47:251
    "helix": "1.42 0.70 1.01 1.51 1.13 0.57 1.00 1.08 1.16 1.21 1.45 0.67 0.57 1.11 0.98 0.77 0.83 1.06 1.08 0.69",
    "sheet": "0.83 1.19 0.54 0.37 1.38 0.75 0.87 1.60 0.74 1.30 1.05 0.89 0.55 1.10 0.93 0.75 1.19 1.70 1.37 1.47",
    "turn": "0.66 1.19 1.46 0.74 0.60 1.56 0.95 0.47 1.01 0.59 0.60 1.56 1.52 0.98 0.95 1.43 0.96 0.50 0.96 1.14",
    # volume in cubic Angstrom, Zamyatnin 1972, Prog Biophys Mol Biol 24:107
    "volume": "88.6 108.5 111.1 138.4 189.9 60.1 153.2 166.7 168.6 166.7 162.9 114.1 112.7 143.8 173.4 89.0 116.1 "
    "140.0 227.8 193.6",
    # no measurement: one for the residues of the name
    "aromatic": "0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1",
    "proline": "0 0 0 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0",
    "glycine": "0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
    "cysteine": "0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
}
SCALES: dict[str, dict[str, float]] = {
    name: dict(zip(STANDARD, map(float, values.split()), strict=True)) for name, values in _VALUES.items()
}

_CODE_OF_BYTE = np.full(256, UNKNOWN, dtype=np.int64)
for _code, _letter in enumerate(STANDARD):
    _CODE_OF_BYTE[ord(_letter)] = _code


def encode_residues(sequence: str) -> np.ndarray:
    """Return the residue codes `(L,)`, 0..19 and `UNKNOWN`, of an upper-case sequence."""
    return _CODE_OF_BYTE[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]


def scale_table(*names: str) -> np.ndarray:
    """Return the scales as `(21, len(names))`; the row of the unknown residue is the mean."""
    columns = np.array([[SCALES[name][letter] for letter in STANDARD] for name in names]).T
    return np.vstack([columns, columns.mean(axis=0)])


def window_sums(values: np.ndarray, *windows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the sums of `values (L, ...)` over each centred window, and how many positions each holds `(L,)`.

    A window of `window` positions is cut at both ends. It has a middle: an even one is one position longer.
    """
    length = len(values)
    total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    place = np.arange(length)
    for window in windows:
        start, stop = np.maximum(place - window // 2, 0), np.minimum(place + window // 2 + 1, length)
        yield total[stop] - total[start], stop - start


def window_means(values: np.ndarray, *windows: int) -> list[np.ndarray]:
    """Average `values (L, ...)` over each of the windows of `window_sums`."""
    return [sums / counts.reshape(-1, *[1] * (values.ndim - 1)) for sums, counts in window_sums(values, *windows)]


def window_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Average `values (L, ...)` over one window."""
    return window_means(values, window)[0]
