"""The pairs of a chunk by protein: what of them is taken together in one batched product.

On each side of its pairs a chunk has groups, the pairs of one protein. Groups of equal size are one batched product. A
grid, every protein of one side with every one of the other, is grouped both ways by looking at it by rows or by
columns; the pairs of a list have to be put in order, and back.

Shape letters: B pairs of a chunk, G groups of M pairs each.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

_GROUPS = 64
"""Most groups of a batched product: of like length, so that little is padding."""


class Grid(NamedTuple):
    """One side of a grid."""

    runs: list[Int[Tensor, " G"]]
    """The proteins of each batched product."""
    shape: tuple[int, int]
    """Proteins of the first and of the second side."""
    second: bool
    """Whether this is the second side."""

    def groups(self, x: Tensor) -> list[Tensor]:
        """Look at rows `(B, ...)` in the order of pairs as groups `(G, M, ...)`, one tensor for each run."""
        x = x.unflatten(0, self.shape)
        return list((x.transpose(0, 1) if self.second else x).split(_GROUPS))

    def spread(self, groups: list[Tensor]) -> Tensor:
        """Bring groups into the order of pairs, `(B, ...)`."""
        x = groups[0] if len(groups) == 1 else torch.cat(groups)
        return (x.transpose(0, 1) if self.second else x).flatten(0, 1)

    def add(self, x: Tensor, groups: list[Tensor]) -> None:
        """Add groups to x, which is in the order of pairs."""
        for part, more in zip(self.groups(x), groups, strict=True):
            part.add_(more)


class Listed(NamedTuple):
    """One side of any list of pairs."""

    runs: list[Int[Tensor, " G"]]
    sizes: list[int]
    """Pairs of each run."""
    order: Int[Tensor, " B"]
    """Places of the pairs, group by group."""
    back: Int[Tensor, " B"]

    def groups(self, x: Tensor) -> list[Tensor]:
        """As `Grid.groups`, in new memory."""
        parts = x.index_select(0, self.order).split(self.sizes)
        return [part.unflatten(0, (len(run), -1)) for part, run in zip(parts, self.runs, strict=True)]

    def spread(self, groups: list[Tensor]) -> Tensor:
        return torch.cat([part.flatten(0, 1) for part in groups]).index_select(0, self.back)

    def add(self, x: Tensor, groups: list[Tensor]) -> None:
        x.add_(self.spread(groups))


def group_pairs(
    a: Int[Tensor, " B"], b: Int[Tensor, " B"], counts: Int[Tensor, " N"], device: torch.device
) -> tuple[Grid, Grid] | tuple[Listed, Listed]:
    """Group pairs by their first and by their second protein; `counts` are the patches of every protein."""
    rows = int((a == a[0]).sum())
    if len(a) % rows == 0:
        first, second = a[::rows], b[:rows]
        if torch.equal(a, first.repeat_interleave(rows)) and torch.equal(b, second.repeat(len(first))):
            shape = len(first), rows
            return Grid(list(first.split(_GROUPS)), shape, False), Grid(list(second.split(_GROUPS)), shape, True)
    return _list_side(a, counts, device), _list_side(b, counts, device)


def _list_side(places: Int[Tensor, " B"], counts: Int[Tensor, " N"], device: torch.device) -> Listed:
    """Put groups of equal size side by side, and among them those of like length."""
    proteins, group, sizes = torch.unique(places, return_inverse=True, return_counts=True)
    by_length = torch.argsort(counts[proteins], stable=True)
    ordered = by_length[torch.argsort(sizes[by_length], stable=True)]
    order = torch.argsort(torch.argsort(ordered)[group], stable=True)
    proteins, sizes = proteins[ordered], sizes[ordered]
    runs, pairs, start = [], [], 0
    for same in proteins.split(torch.unique_consecutive(sizes, return_counts=True)[1].tolist()):
        for part in same.split(_GROUPS):
            runs.append(part)
            pairs.append(len(part) * int(sizes[start]))
            start += len(part)
    return Listed(runs, pairs, order.to(device), torch.argsort(order).to(device))
