"""`MaskedAutoencoder`: an encoder that learns by rebuilding the patches that it was not shown.

After He et al. 2022 (arXiv:2111.06377), for proteins of any number of patches: the encoder reads CLS and the
visible patches only, gathered to the width of the most visible ones, so that hiding patches saves their cost. A
light decoder puts the mean of the visible tokens and a mask token in each hidden patch's place, adds positions and
rebuilds every patch.

The choice worth knowing: most of a patch is noise that nobody can predict. Patches are rebuilt in standardised
units (mean 0, deviation 1 over the training proteins), and `target_weight` says how much each channel counts; it
sums to one, so that the training mean as the answer has a loss of about 1. Visible patches can be rebuilt too
(`visible_weight` of the loss): else tokens forget their own patch, which is what pairs are told by.

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


class Columns(NamedTuple):
    """Which patches of each protein are visible, padded to the most."""

    index: Int[Tensor, "B V"]
    """Places of the visible patches, in order."""
    real: Bool[Tensor, "B V"]


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
        mean = (seen * columns.real[..., None]).sum(dim=1, keepdim=True) / columns.real.sum(dim=1)[:, None, None]
        board = (mean + self.mask_token).to(seen.dtype).expand(-1, patches + 1, -1)
        place = columns.index.masked_fill(~columns.real, patches)  # padding lands in one more place, cut off here
        return board.scatter(1, place[..., None].expand_as(seen), seen)[:, :patches]


class MaskedAutoencoder(nn.Module):
    """An encoder, the decoder it is trained with, and what is rebuilt."""

    def __init__(self, encoder: MAEEncoder, *, width: int = 256, layers: int = 1, heads: int = 4):
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(encoder.config, width, layers, heads)
        channels = encoder.config.embedding_width
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
        real = patch_mask(lengths, values.shape[1], self.encoder.config.patch)
        columns = visible_columns(real & ~masked)
        return self.decoder(self.encode_visible(values, lengths, columns), columns, real)

    def loss(
        self,
        values: Float[Tensor, "B P E"],
        lengths: Int[Tensor, " B"],
        masked: Bool[Tensor, "B P"],
        visible_weight: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Return the weighted squared error of the masked patches, summed over them.

        With `visible_weight` that many times the mean error of its protein's visible patches is added for each. There a
        channel counts by its variance, so that tokens keep what is loud in their own patch.
        """
        rebuilt = self(values, lengths, masked)
        with torch.autocast(values.device.type, enabled=False):  # the model's precision, not that of its error
            error = (rebuilt.float() - self.target(values)).square()
            total = (error[masked] @ self.target_weight).sum()
            if visible_weight:
                visible = patch_mask(lengths, values.shape[1], self.encoder.config.patch) & ~masked
                seen = (error @ self.visible_channel_weight * visible).sum(dim=1) / visible.sum(dim=1)
                total = total + visible_weight * (masked.sum(dim=1) * seen).sum()
        return total
