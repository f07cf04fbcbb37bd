"""The patches of many proteins in memory: which of them are hidden, and what can be told of each channel.

Shape letters: N proteins, B of them in a batch, P patches, R patches of all proteins, E embedding width.
Masks: True = hidden from the encoder; padding is never hidden.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ppi_lib.store import PatchStore


class PatchBatch(NamedTuple):
    """Some proteins, padded with zeros to the longest."""

    values: Float[Tensor, "B P E"]
    lengths: Int[Tensor, " B"]
    masked: Bool[Tensor, "B P"]


class PatchTable:
    """The patches of `proteins`, one after another: a store checks every read, and epochs are many."""

    def __init__(self, store: PatchStore, proteins: Sequence[str]):
        self.proteins = list(proteins)
        self.lengths = torch.tensor([store.length(protein) for protein in self.proteins])
        self.counts = -(-self.lengths // store.info.patch)
        self.starts = self.counts.cumsum(0) - self.counts
        self.rows = torch.empty(int(self.counts.sum()), store.info.width, dtype=torch.float16)
        for protein, rows in zip(self.proteins, self.rows.split(self.counts.tolist()), strict=True):
            rows.copy_(torch.from_numpy(store[protein]))

    def gather(self, places: Int[Tensor, " B"], masked: Bool[Tensor, " R"] | None = None) -> PatchBatch:
        """Return the proteins at `places`, and which of their patches are `masked`; none without it."""
        column = torch.arange(int(self.counts[places].max()))
        real = column < self.counts[places, None]
        row = torch.where(real, self.starts[places, None] + column, 0)
        hidden = torch.zeros_like(real) if masked is None else masked[row]
        return PatchBatch(self.rows[row].float() * real[..., None], self.lengths[places], real & hidden)


def draw_masks(counts: Int[Tensor, " N"], ratio: float, seed: int, epoch: int) -> Bool[Tensor, " R"]:
    """Hide `ratio` of each protein's patches, at least one and not all, as seed and epoch fix."""
    generator = torch.Generator().manual_seed(hash((seed, epoch)) % 2**63)
    protein = torch.repeat_interleave(torch.arange(len(counts)), counts)
    noise = torch.rand(len(protein), generator=generator, dtype=torch.float64)
    order = torch.argsort(protein + noise)  # by protein, at random within it
    rank = torch.arange(len(protein)) - (counts.cumsum(0) - counts)[protein]
    hidden = torch.minimum((counts * ratio).round().clamp(min=1), counts - 1)
    masked = torch.empty(len(protein), dtype=torch.bool)
    masked[order] = rank < hidden[protein]
    return masked


class Channels(NamedTuple):
    """What can be told of each channel over the patches of many proteins."""

    mean: Float[Tensor, " E"]
    deviation: Float[Tensor, " E"]
    between: Float[Tensor, " E"]
    """Share of the variance that lies between proteins, 0 to 1: 1 for a number of the whole protein."""
    neighbour: Float[Tensor, " E"]
    """Correlation of a patch with the next one of its protein, 0 to 1; a negative one counts as 0."""

    @property
    def predictable(self) -> Float[Tensor, " E"]:
        """How well a patch's neighbours tell it, times how much it varies within its protein, 0 to 1.

        A count of rare words has little of the first, a number of the whole protein nothing of the second.
        """
        return self.neighbour * (1 - self.between)


def describe_channels(table: PatchTable) -> Channels:
    """Measure the channels of a table.

    `between` is the intraclass correlation of a one-way analysis of variance with groups of unequal size.
    """
    n = table.counts.double()
    mean = table.rows.mean(dim=0, dtype=torch.float64)
    squares, between, lagged = (torch.zeros_like(mean) for _ in range(3))
    for rows in table.rows.split(table.counts.tolist()):
        rows = rows.double() - mean
        squares += rows.square().sum(dim=0)
        between += rows.sum(dim=0).square() / len(rows)
        lagged += (rows[1:] * rows[:-1]).sum(dim=0)
    within = (squares - between) / (n.sum() - len(n))
    size = (n.sum() - n.square().sum() / n.sum()) / max(1, len(n) - 1)
    extra = ((between / max(1, len(n) - 1) - within) / size).clamp(min=0)
    variance = squares / n.sum()
    neighbour = lagged / (n.sum() - len(n)) / variance
    shares = (torch.nan_to_num(share).clamp(0, 1).float() for share in (extra / (extra + within), neighbour))
    return Channels(mean.float(), variance.sqrt().float(), *shares)
