"""`MaskedAutoencoder`: an encoder that learns by rebuilding the patches that it was not shown.

After He et al. 2022 (arXiv:2111.06377), for proteins of any number of patches: the encoder reads CLS and the
visible patches only, gathered to the width of the most visible ones, so that hiding patches saves their cost. A
light decoder puts the mean of the visible tokens and a mask token in each hidden patch's place, adds positions and
rebuilds every patch.

The choice worth knowing: most of a patch is noise that nobody can predict. Patches are rebuilt in standardised
units (mean 0, deviation 1 over the training proteins), and `target_weight` says how much each channel counts; it
sums to one, so that the training mean as the answer has a loss of about 1. Two more things are asked of the tokens, for
pairs are told by them: that each keeps its own patch (`visible_weight` of the loss), and that their mean tells what
all patches of the protein are like together, the hidden ones too (`summary_weight`).

Shape letters: B proteins, P patches, V visible patches, T = V + 1 tokens (CLS in front), E embedding width, D encoder
width, W decoder width.
Masks: `real` is True for patches, False for padding; `masked` is True for real patches hidden from the encoder.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ppi_lib.encoder import EncoderLayer, MAEEncoder, ModelConfig, patch_mask

SUMMARIES = ("mean", "deviation", "maximum", "minimum")
_FURTHEST = 8.0
"""An error of a summary counts as no larger, in deviations: a rare extreme would drown all others."""


class Columns(NamedTuple):
    """Which patches of each protein are visible, padded to the most."""

    index: Int[Tensor, "B V"]
    """Places of the visible patches, in order."""
    real: Bool[Tensor, "B V"]

    def mean(self, tokens: Float[Tensor, "B V D"]) -> Float[Tensor, "B D"]:
        """Average what stands at these places."""
        return (tokens * self.real[..., None]).sum(dim=1) / self.real.sum(dim=1)[:, None]


def visible_columns(visible: Bool[Tensor, "B P"]) -> Columns:
    """Gather the places of the visible patches to the left."""
    counts = visible.sum(dim=1)
    index = torch.argsort(~visible, dim=1, stable=True)[:, : int(counts.max())]
    return Columns(index, torch.arange(index.shape[1], device=index.device) < counts[:, None])


def sinusoids(places: int, width: int) -> Float[Tensor, "P W"]:
    """Return fixed position embeddings: sines and cosines of falling frequency (Vaswani et al. 2017)."""
    rates = 10_000 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(places)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


def summarise_patches(values: Float[Tensor, "B P E"], real: Bool[Tensor, "B P"]) -> Float[Tensor, "B 4*E"]:
    """Return mean, deviation, maximum and minimum of each channel over the `real` patches of a protein."""
    real = real[..., None]
    count = real.sum(dim=1)
    mean = (values * real).sum(dim=1) / count
    deviation = (((values - mean[:, None]) * real).square().sum(dim=1) / count).sqrt()
    ends = values.masked_fill(~real, -torch.inf).amax(dim=1), values.masked_fill(~real, torch.inf).amin(dim=1)
    return torch.cat([mean, deviation, *ends], dim=1)


class Decoder(nn.Module):
    """Tokens of the visible patches to all patches, rebuilt."""

    def __init__(self, config: ModelConfig, width: int, layers: int, heads: int):
        super().__init__()
        inner = replace(config, width=width, heads=heads, cross_heads=heads, feedforward=4 * width)
        self.embedding = nn.Linear(config.width, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.register_buffer("position", sinusoids(config.patches, width), persistent=False)
        self.layers = nn.ModuleList(EncoderLayer(inner) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, config.embedding_width)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(
        self, tokens: Float[Tensor, "B T D"], columns: Columns, real: Bool[Tensor, "B P"]
    ) -> Float[Tensor, "B P E"]:
        cls, seen = self.embedding(tokens).split([1, tokens.shape[1] - 1], dim=1)
        x = torch.cat([cls, self.fill(seen, columns, real.shape[1]) + self.position[: real.shape[1]]], dim=1)
        mask = F.pad(real, (1, 0), value=True)
        for layer in self.layers:
            x = layer(x, mask)
        return self.output(self.norm(x[:, 1:]))

    def fill(self, seen: Float[Tensor, "B V W"], columns: Columns, patches: int) -> Float[Tensor, "B P W"]:
        """Put each visible token in its place; everywhere else their mean and the mask token."""
        board = (columns.mean(seen)[:, None] + self.mask_token).to(seen.dtype).expand(-1, patches + 1, -1)
        place = columns.index.masked_fill(~columns.real, patches)  # padding lands in one more place, cut off here
        return board.scatter(1, place[..., None].expand_as(seen), seen)[:, :patches]


class _Rebuilt(NamedTuple):
    visible: Bool[Tensor, "B P"]
    columns: Columns
    tokens: Float[Tensor, "B T D"]
    rebuilt: Float[Tensor, "B P E"]


class MaskedAutoencoder(nn.Module):
    """An encoder, the decoder it is trained with, and what is rebuilt."""

    def __init__(self, encoder: MAEEncoder, *, width: int = 256, layers: int = 1, heads: int = 4):
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(encoder.config, width, layers, heads)
        channels = encoder.config.embedding_width
        self.summary = nn.Sequential(
            nn.LayerNorm(encoder.config.width), nn.Linear(encoder.config.width, len(SUMMARIES) * channels)
        )
        nn.init.zeros_(self.summary[1].weight)
        self.register_buffer("target_mean", torch.zeros(channels))
        self.register_buffer("target_deviation", torch.ones(channels))
        self.register_buffer("target_weight", torch.full((channels,), 1 / channels))
        self.register_buffer("visible_channel_weight", torch.full((channels,), 1 / channels))

    def set_target(
        self, mean: Float[Tensor, " E"], deviation: Float[Tensor, " E"], weight: Float[Tensor, " E"]
    ) -> None:
        """Rebuild patches less `mean`, in units of `deviation`; a channel counts by its share of `weight`."""
        self.target_mean.copy_(mean)
        self.target_deviation.copy_(torch.where(deviation > 1e-6, deviation, 1))
        self.target_weight.copy_(weight / weight.sum())
        self.visible_channel_weight.copy_(deviation.square() / deviation.square().sum())

    def target(self, values: Float[Tensor, "*B E"]) -> Float[Tensor, "*B E"]:
        """Standardise patches."""
        return (values - self.target_mean) / self.target_deviation

    def encode_visible(
        self, values: Float[Tensor, "B P E"], lengths: Int[Tensor, " B"], columns: Columns
    ) -> Float[Tensor, "B T D"]:
        """Run the encoder on CLS and the visible patches, each with the position it has in its protein."""
        index = columns.index[..., None]
        positions = self.encoder.patch_positions(lengths, values.shape[1])
        seen = self.encoder.patch_embedding(values.take_along_dim(index, dim=1))
        return self.encoder.encode(seen + positions.take_along_dim(index, dim=1), columns.real)

    def forward(
        self, values: Float[Tensor, "B P E"], lengths: Int[Tensor, " B"], masked: Bool[Tensor, "B P"]
    ) -> Float[Tensor, "B P E"]:
        """Return every patch as rebuilt from those that are not masked, in standardised units."""
        return self._rebuild(values, lengths, masked).rebuilt

    def _rebuild(self, values: Tensor, lengths: Tensor, masked: Tensor) -> _Rebuilt:
        real = patch_mask(lengths, values.shape[1], self.encoder.config.patch)
        visible = real & ~masked
        columns = visible_columns(visible)
        tokens = self.encode_visible(values, lengths, columns)
        return _Rebuilt(visible, columns, tokens, self.decoder(tokens, columns, real))

    def loss(
        self,
        values: Float[Tensor, "B P E"],
        lengths: Int[Tensor, " B"],
        masked: Bool[Tensor, "B P"],
        visible_weight: float = 0.0,
        summary_weight: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Return the weighted squared error of the masked patches, summed over them.

        For each of them that many times two errors of its protein are added. With `visible_weight` the mean error of
        the visible patches; there a channel counts by its variance, so that tokens keep what is loud in their own
        patch. With `summary_weight` the error of what the mean visible token tells of all patches of the protein
        (`summarise_patches`), each number alike.
        """
        visible, columns, tokens, rebuilt = self._rebuild(values, lengths, masked)
        hidden, real = masked.sum(dim=1), visible | masked
        with torch.autocast(values.device.type, enabled=False):  # the model's precision, not that of its error
            target = self.target(values)
            error = (rebuilt.float() - target).square()
            total = (error[masked] @ self.target_weight).sum()
            if visible_weight:
                seen = (error @ self.visible_channel_weight * visible).sum(dim=1) / visible.sum(dim=1)
                total = total + visible_weight * (hidden * seen).sum()
            if summary_weight:
                told = self.summary(columns.mean(tokens[:, 1:].float())) - summarise_patches(target, real)
                total = total + summary_weight * (hidden * told.clamp(-_FURTHEST, _FURTHEST).square().mean(dim=1)).sum()
        return total
