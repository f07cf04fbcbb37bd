"""pp_MCC: how well a protein's partners are told from its other pairs, on average over proteins.

A model that only knows which proteins are sociable does well on all pairs together and worse here. It is the mean
Matthews correlation within a protein's pairs, over the proteins with pairs of both classes; a pair counts for both
of its proteins.

Shape letters: B pairs, N proteins, S draws.
"""

import numpy as np
from scipy import sparse

from ppi_lib.rates import matthews

ProteinCells = sparse.csr_matrix
"""`(4N, B)`: which pairs are a protein's true positives, false positives, false negatives and true negatives."""


def sort_cells(labels, called, first: np.ndarray, second: np.ndarray, proteins: int) -> ProteinCells:
    """Say which protein's cell each pair lies in; a pair of a protein with itself counts once."""
    labels, called = np.asarray(labels) == 1, np.asarray(called, dtype=bool)
    cell = np.select([called & labels, called & ~labels, ~called & labels], [0, 1, 2], 3)
    other = np.flatnonzero(first != second)
    rows = np.concatenate([cell * proteins + first, cell[other] * proteins + second[other]])
    columns = np.concatenate([np.arange(len(cell)), other])
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(4 * proteins, len(cell)))


def per_protein_mcc(cells: ProteinCells, weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return pp_MCC `(S,)` for pair weights `(S, B)` and protein weights `(S, N)`; NaN where no protein has both.

    A protein's own weight is a factor of all its pairs, which its correlation doesn't feel.
    """
    tp, fp, fn, tn = (cells @ weights.T).reshape(4, counts.shape[1], len(weights))
    share = np.where((tp + fn > 0) & (fp + tn > 0), counts.T, 0)
    total = share.sum(axis=0)
    summed = (share * matthews(tp, fp, fn, tn)).sum(axis=0)
    return np.where(total > 0, summed / np.maximum(total, 1e-12), np.nan)
