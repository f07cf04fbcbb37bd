"""`ModelConfig` and `MAEEncoder`: the patches of a protein to tokens.

The encoder is the one of a masked autoencoder (He et al. 2022, arXiv:2111.06377): project each patch, add
its position, put a CLS token in front, run pre-norm transformer layers.

The choice worth knowing: a patch is the mean of 32 residues, and so is its position embedding. The mean
commutes with the projection, so a protein is stored pooled, 32 times smaller, and gives the same number.

Shape letters: B proteins, L residues, P patches, E embedding width, D model width.
Masks: True = real, False = padding.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ppi_lib.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    embedding_width: int = 960
    """Width of a residue embedding (960: ESM-C 300M and `profile`)."""
    width: int = 768
    """Width of a token, in the encoder and after it."""
    layers: int = 12
    """Transformer layers of the encoder."""
    heads: int = 12
    """Attention heads of an encoder layer."""
    feedforward: int = 3072
    """Hidden width of every feed-forward network."""
    cross_layers: int = 2
    """Cross-attention layers of the interaction module."""
    cross_heads: int = 8
    """Attention heads of a cross-attention layer."""
    head_widths: tuple[int, ...] | list[int] = (512, 128)
    """Hidden widths of the head."""
    max_residues: int = 1502
    """Residues that have a position; what follows is cut off."""
    patch: int = 32
    """Residues pooled into one patch."""
    dropout: float = 0.3
    """Dropout in the interaction module and the head, 0 to below 1."""
    activation: str = "gelu"
    """Activation of the feed-forwards: `gelu`, or `relu` in checkpoints of v5's first implementation."""

    def __post_init__(self):
        object.__setattr__(self, "head_widths", tuple(self.head_widths))
        sizes = {name: value for name, value in asdict(self).items() if isinstance(value, int)}
        for name, value in [*sizes.items(), *(("head_widths", w) for w in self.head_widths)]:
            if value < 1:
                raise InputError(f"ModelConfig.{name} is {value}; expected at least 1.")
        for name in ("heads", "cross_heads"):
            if self.width % sizes[name]:
                raise InputError(
                    f"ModelConfig.width is {self.width}, which {name}={sizes[name]} does not divide; choose a multiple."
                )
        if not 0 <= self.dropout < 1:
            raise InputError(f"ModelConfig.dropout is {self.dropout}; expected 0 or more and below 1.")
        if self.activation not in ("gelu", "relu"):
            raise InputError(f"ModelConfig.activation is {self.activation!r}; expected 'gelu' or 'relu'.")

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, heads: int | None = None) -> "ModelConfig":
        """Return the configuration of a model around the encoder in a checkpoint.

        Weights alone don't tell the number of heads (nor does a `.pth` file): it is `heads`, or that of the preset
        with as many layers of the same width, or an `InputError`. What is not the encoder's is the preset's too.
        """
        from ppi_lib.checkpoint import read_encoder

        return read_encoder(path).config(heads)

    @property
    def patches(self) -> int:
        """Most patches of one protein: 47 in v5."""
        return math.ceil(self.max_residues / self.patch)


PRESETS = {
    "v5": ModelConfig(),
    "v3": ModelConfig(width=256, layers=2, heads=8, feedforward=1024, head_widths=(256, 64), dropout=0.1),
}


class Patches(NamedTuple):
    """Pooled patches of a batch of proteins, padded to the longest."""

    values: Float[Tensor, "B P E"]
    lengths: Int[Tensor, " B"]
    """Residues of each protein, 1 to `max_residues`."""


def patch_mask(lengths: Int[Tensor, " B"], patches: int, patch: int = 32) -> Bool[Tensor, "B P"]:
    """Say which of `patches` columns hold at least one residue."""
    return torch.arange(patches, device=lengths.device) * patch < lengths[:, None]


def pool_residues(
    residues: Float[Tensor, "B L E"], mask: Bool[Tensor, "B L"] | None = None, patch: int = 32
) -> Patches:
    """Average residue embeddings over patches of `patch` residues, real residues only.

    `mask` must be True for the first residues of each protein and False behind them; without it all are real.
    """
    batch, length, _ = residues.shape
    mask = torch.ones(batch, length, dtype=torch.bool, device=residues.device) if mask is None else mask
    lengths = mask.sum(dim=1)
    padding = -length % patch
    real = F.pad(mask, (0, padding)).unflatten(1, (-1, patch)).unsqueeze(-1)
    grouped = F.pad(residues, (0, 0, 0, padding)).unflatten(1, (-1, patch))
    total = torch.where(real, grouped, 0).sum(dim=2)
    return Patches(total / real.sum(dim=2).clamp(min=1), lengths)


class PatchEmbedding(nn.Linear):
    """Standardise patches and project them to the model's width.

    Each feature is centred and all are divided by one number, so that the embedder decides how loud a feature
    speaks. `input_mean` and `input_scale` are buffers, no parameters: measured on the training proteins, and the
    identity until then.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config.embedding_width, config.width)
        self.register_buffer("input_mean", torch.zeros(config.embedding_width))
        self.register_buffer("input_scale", torch.ones(1))
        self.settled = False

    @property
    def standardises(self) -> bool:
        """Whether a standardisation was set, or the identity is meant: weights from a file take input as they did."""
        return self.settled or bool((self.input_mean != 0).any())

    def set_standardisation(self, mean: Float[Tensor, " E"], deviation: Float[Tensor, " E"]) -> None:
        """Take `mean` away from every patch and divide by the root mean square of the `deviation` of the features."""
        self.input_mean.copy_(mean)
        self.input_scale.copy_(1 / deviation.square().mean().sqrt().clamp(min=1e-6))

    def forward(self, patches: Float[Tensor, "B P E"]) -> Float[Tensor, "B P D"]:
        return super().forward((patches - self.input_mean) * self.input_scale)


class Dropout(nn.Dropout):
    """`nn.Dropout`, ten times as fast on a CPU: it compares random 16-bit numbers, so p is met to 1/65,536."""

    def forward(self, x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        if not self.training or self.p in (0, 1) or x.device.type != "cpu":
            return super().forward(x)
        drop = min(round(self.p * 2**16), 2**16 - 1)
        random = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = random.view(torch.int16)[: x.numel()].view(x.shape).ge_(drop - 2**15)
        scale = 2**16 / (2**16 - drop)
        if x.dtype is torch.bfloat16:  # 0 or 1 times the bits of the scale are the bits of 0 or the scale
            return x * kept.mul_(torch.tensor(scale, dtype=x.dtype).view(torch.int16)).view(x.dtype)
        return x * kept.to(x.dtype).mul_(scale)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: ModelConfig, dropout: float):
        super().__init__()
        self.linear1 = nn.Linear(config.width, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, config.width)
        self.activation = nn.GELU() if config.activation == "gelu" else nn.ReLU()
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class Attention(nn.Module):
    """The four projections that every attention has, under the names that LoRA targets."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)


class SelfAttention(Attention):
    """Multi-head attention of a protein's tokens to one another."""

    def forward(self, x: Float[Tensor, "B P D"], mask: Bool[Tensor, "B P"]) -> Float[Tensor, "B P D"]:
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
        )
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return self.out_proj(context.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config, dropout=0.0)

    def forward(self, x: Float[Tensor, "B P D"], mask: Bool[Tensor, "B P"]) -> Float[Tensor, "B P D"]:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.feedforward(self.norm2(x))


class MAEEncoder(nn.Module):
    """Patches of a protein to tokens; the encoder of a masked autoencoder.

    With `gradient_checkpointing` set, a layer's inner values are computed again on the way back, not kept: less
    memory for more time, and the same gradients.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.patch_embedding = PatchEmbedding(config)
        self.position = nn.Parameter(torch.empty(config.max_residues, config.width))
        self.cls_token = nn.Parameter(torch.empty(config.width))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.gradient_checkpointing = False
        self._initialise()

    def _initialise(self) -> None:
        """Xavier uniform, with what a layer adds scaled down by depth (GPT-2), so that tokens keep their patch."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for layer in self.layers:
            for last in (layer.attention.out_proj, layer.feedforward.linear2):
                last.weight.data.mul_((2 * self.config.layers) ** -0.5)
        nn.init.trunc_normal_(self.position, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def patch_positions(self, lengths: Int[Tensor, " B"], patches: int) -> Float[Tensor, "B P D"]:
        """Average the position embeddings of each patch's real residues."""
        size = self.config.patch
        table = F.pad(self.position, (0, 0, 0, -len(self.position) % size)).unflatten(0, (-1, size))[:patches]
        last = (lengths - 1) // size
        part = torch.arange(size, device=lengths.device) < (lengths - last * size)[:, None]
        partial = torch.einsum("bsd,bs->bd", table[last], part / part.sum(dim=1, keepdim=True))
        is_last = torch.arange(patches, device=lengths.device) == last[:, None]
        return torch.where(is_last[..., None], partial[:, None], table.mean(dim=1))

    def embed(self, patches: Float[Tensor, "B P E"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B P D"]:
        """Project the patches and add their positions."""
        return self.patch_embedding(patches) + self.patch_positions(lengths, patches.shape[1])

    def encode(self, embedded: Float[Tensor, "B P D"], mask: Bool[Tensor, "B P"]) -> Float[Tensor, "B P+1 D"]:
        """Put CLS in front and run the layers and the final norm."""
        x = torch.cat([self.cls_token.expand(len(embedded), 1, -1), embedded], dim=1)
        mask = F.pad(mask, (1, 0), value=True)
        again = self.gradient_checkpointing and torch.is_grad_enabled()
        for layer in self.layers:
            x = checkpoint(layer, x, mask, use_reentrant=False) if again else layer(x, mask)
        return self.norm(x)

    def forward(self, patches: Float[Tensor, "B P E"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B P+1 D"]:
        """Return CLS and one token per patch; behind a protein's last patch they mean nothing."""
        mask = patch_mask(lengths, patches.shape[1], self.config.patch)
        return self.encode(self.embed(patches, lengths), mask)


def encoder_sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Return what an encoder's weights tell of its `ModelConfig`; a `ValueError` names those that are missing."""
    needed = ("patch_embedding.weight", "position", "layers.0.feedforward.linear1.bias")
    missing = [name for name in needed if name not in weights or not weights[name].ndim]
    if missing:
        raise ValueError(f"no {', no '.join(missing)}")
    projection, position, hidden = (weights[name] for name in needed)
    return {
        "embedding_width": projection.shape[-1],
        "width": projection.shape[0],
        "layers": len({name.split(".")[1] for name in weights if name.startswith("layers.")}),
        "feedforward": hidden.shape[0],
        "max_residues": position.shape[0],
    }
