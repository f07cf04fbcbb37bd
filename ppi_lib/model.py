"""The v5 classifier: two proteins' patches in, the logit of their interaction out.

`MAEEncoder` turns each protein's patches into tokens; in `InteractionCrossAttention` one learned query
reads the tokens of both proteins; `InteractionMLPHead` turns what it read into a logit.

The choice worth knowing: with a single query the keys and values never have to be computed.
`q . (W_K t + b_K)` is `(W_K^T q) . t` plus a constant that the softmax cancels, and the context is
`W_V (sum_t a_t t) + b_V`. `CrossAttention` uses this form; it equals the plain one to rounding.

Shape letters: B pairs, L residues, P patches of one protein, T tokens of both, E embedding width,
D model width, H heads, K cross-attention layers. Masks: True = real, False = padding.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ppi_lib.encoder import (
    PRESETS,
    Attention,
    Dropout,
    FeedForward,
    MAEEncoder,
    ModelConfig,
    Patches,
    patch_mask,
    pool_residues,
)
from ppi_lib.errors import InputError


class Interaction(NamedTuple):
    """What the interaction module found for a batch of pairs."""

    vector: Float[Tensor, "B D"]
    attention: tuple[Float[Tensor, "B H T"], ...]
    """Weights of each cross-attention layer; over the real tokens of both proteins they sum to one."""


class MaskedSoftmax(nn.Module):
    """Scores to weights. A module, so that a hook can read or replace the attention weights."""

    def forward(self, scores: Float[Tensor, "B H T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B H T"]:
        return scores.float().masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1)


class TokenPairs(NamedTuple):
    """Patch tokens of a batch of pairs, protein A's before protein B's."""

    tokens: Float[Tensor, "B T D"]
    mask: Bool[Tensor, "B T"]


class CrossAttention(Attention):
    """Multi-head attention of one query to many tokens, without projecting the tokens.

    The pairs come in groups, each padded to its own longest; all else, key and value weights among it, is done for all
    pairs at once. A query of one row serves all pairs.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__(width, heads)
        self.softmax = MaskedSoftmax()
        self.dropout = Dropout(dropout)

    def forward(
        self, query: Float[Tensor, "#B D"], groups: Sequence[TokenPairs]
    ) -> tuple[Float[Tensor, "B D"], list[Float[Tensor, "_ H _"]]]:
        """Return the context, and the weights of each group."""
        q = self.q_proj(query).unflatten(-1, (self.heads, -1)) / (query.shape[-1] // self.heads) ** 0.5
        key, value = (f.weight.to(q.dtype).unflatten(0, (self.heads, -1)) for f in (self.k_proj, self.v_proj))
        token_query = torch.bmm(q.transpose(0, 1), key).transpose(0, 1)
        sizes = [len(group.mask) for group in groups]
        queries = token_query.split(sizes) if len(token_query) > 1 else [token_query] * len(groups)
        parts = [self._pool(query, group) for query, group in zip(queries, groups, strict=True)]
        pooled = torch.cat([pooled.transpose(0, 1) for pooled, _ in parts], dim=1)
        context = torch.bmm(pooled, value.transpose(1, 2)).transpose(0, 1).flatten(1)
        return self.out_proj(context + self.v_proj.bias), [weights for _, weights in parts]

    def _pool(
        self, token_query: Float[Tensor, "#B H D"], group: TokenPairs
    ) -> tuple[Float[Tensor, "B H D"], Float[Tensor, "B H T"]]:
        """Return the weighted mean of each pair's tokens for each head, and the weights."""
        tokens, mask = group
        if len(token_query) == 1:
            scores = nn.functional.linear(tokens, token_query[0]).transpose(1, 2)
        else:
            scores = torch.bmm(token_query, tokens.transpose(1, 2))
        weights = self.softmax(scores, mask)
        return torch.bmm(self.dropout(weights).to(tokens.dtype), tokens), weights

    def context(self, weights: Float[Tensor, "B H T"], tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B D"]:
        """Return the context of given weights, which sum to one: no query is asked."""
        value = self.v_proj.weight.unflatten(0, (self.heads, -1))
        values = torch.einsum("bhd,hcd->bhc", torch.bmm(weights, tokens), value)
        return self.out_proj(values.flatten(1) + self.v_proj.bias)

    def plain(
        self, query: Float[Tensor, "B D"], tokens: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B H T"]]:
        """The same with keys and values projected for every token: what `forward` is held against."""
        q = self.q_proj(query).unflatten(-1, (self.heads, -1)) / (query.shape[-1] // self.heads) ** 0.5
        key, value = (f(tokens).unflatten(-1, (self.heads, -1)) for f in (self.k_proj, self.v_proj))
        weights = self.softmax(torch.einsum("bhc,bthc->bht", q, key), mask)
        context = torch.einsum("bht,bthc->bhc", self.dropout(weights).to(value.dtype), value).flatten(1)
        return self.out_proj(context), weights


class CrossAttentionLayer(nn.Module):
    """Pre-norm transformer layer in which only the query token is carried on."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = CrossAttention(config.width, config.cross_heads, config.dropout)
        self.norm2 = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "#B D"], groups: Sequence[TokenPairs]
    ) -> tuple[Float[Tensor, "B D"], list[Float[Tensor, "_ H _"]]]:
        context, weights = self.attention(self.norm1(x), groups)
        return self.add(x, context), weights

    def add(self, x: Float[Tensor, "#B D"], context: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Carry the query token on with what it read."""
        x = x + self.dropout(context)
        return x + self.dropout(self.feedforward(self.norm2(x)))


class InteractionCrossAttention(nn.Module):
    """One learned query, CLS_int, reads the patch tokens of both proteins."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.cls_int = nn.Parameter(torch.empty(config.width))
        self.layers = nn.ModuleList(CrossAttentionLayer(config) for _ in range(config.cross_layers))
        self.norm = nn.LayerNorm(config.width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.cls_int, std=0.02)

    def forward(self, tokens: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]) -> Interaction:
        vector, attention = self.read([TokenPairs(tokens, mask)])
        return Interaction(vector, tuple(weights for (weights,) in attention))

    def read(self, groups: Sequence[TokenPairs]) -> tuple[Float[Tensor, "B D"], list[list[Float[Tensor, "_ H _"]]]]:
        """Return the interaction vectors of all pairs, and for each layer the weights of each group."""
        x, attention = self.cls_int[None], []
        for layer in self.layers:
            x, weights = layer(x, groups)
            attention.append(weights)
        return self.norm(x), attention

    def read_weighted(self, weights: Float[Tensor, "B K H T"], tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B D"]:
        """Return the interaction vectors if the attention weights of all K layers are given, not computed."""
        x = self.cls_int[None]
        for layer, given in zip(self.layers, weights.unbind(1), strict=True):
            x = layer.add(x, layer.attention.context(given, tokens))
        return self.norm(x)


class InteractionMLPHead(nn.Sequential):
    """Interaction vector to logit: layer norm, GELU and dropout after each hidden layer."""

    def __init__(self, config: ModelConfig):
        widths = (config.width, *config.head_widths)
        blocks = []
        for before, after in pairwise(widths):
            blocks += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), Dropout(config.dropout)]
        super().__init__(*blocks, nn.Linear(widths[-1], 1))
        for module in self:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)


class PPIClassifier(nn.Module, PyTorchModelHubMixin):
    """The whole of v5.

    A protein comes as residue embeddings `(B, L, E)` with a mask `(B, L)`, or already pooled as `Patches`.
    `save_pretrained` and `push_to_hub` come from the Hub's mixin.
    """

    def __init__(self, config: ModelConfig = PRESETS["v5"]):
        super().__init__()
        self.config = config
        self.encoder = MAEEncoder(config)
        self.interaction = InteractionCrossAttention(config)
        self.head = InteractionMLPHead(config)

    def _patch_tokens(
        self, embedding: Float[Tensor, "B L E"] | Patches, mask: Bool[Tensor, "B L"] | None
    ) -> tuple[Float[Tensor, "B P D"], Bool[Tensor, "B P"]]:
        patches = embedding if isinstance(embedding, Patches) else pool_residues(embedding, mask, self.config.patch)
        values, lengths = patches
        if values.shape[-1] != self.config.embedding_width:
            raise InputError(
                f"The embedding is {values.shape[-1]} wide; this model reads {self.config.embedding_width}. "
                "Embed the proteins with the embedder that the model was trained on."
            )
        if lengths.min() < 1 or lengths.max() > self.config.max_residues:
            raise InputError(
                f"A protein has {int(lengths.min())} to {int(lengths.max())} residues; expected 1 to "
                f"{self.config.max_residues}. Cut longer ones before."
            )
        tokens = self.encoder(values, lengths)[:, 1:]
        return tokens, patch_mask(lengths, tokens.shape[1], self.config.patch)

    def interact(self, emb_a, emb_b, mask_a=None, mask_b=None) -> Interaction:
        """Encode both proteins and let CLS_int read them."""
        tokens_a, real_a = self._patch_tokens(emb_a, mask_a)
        tokens_b, real_b = self._patch_tokens(emb_b, mask_b)
        return self.interaction(torch.cat([tokens_a, tokens_b], dim=1), torch.cat([real_a, real_b], dim=1))

    def get_interaction_embeddings(self, emb_a, emb_b, mask_a=None, mask_b=None) -> Float[Tensor, "B D"]:
        """Return the interaction vectors."""
        return self.interact(emb_a, emb_b, mask_a, mask_b).vector

    def forward(self, emb_a, emb_b, mask_a=None, mask_b=None) -> Float[Tensor, " B"]:
        """Return the logits."""
        return self.head(self.get_interaction_embeddings(emb_a, emb_b, mask_a, mask_b)).squeeze(-1)

    def score_tokens(self, groups: Sequence[TokenPairs]) -> Float[Tensor, " B"]:
        """Return the logits from groups of pairs' patch tokens; the encoder is not run."""
        return self.head(self.interaction.read(groups)[0]).squeeze(-1)

    def score_weights(self, weights: Float[Tensor, "B K H T"], tokens: Float[Tensor, "B T D"]) -> Float[Tensor, " B"]:
        """Return the logits from given attention weights of all K layers: what attribution to them differentiates."""
        return self.head(self.interaction.read_weighted(weights, tokens)).squeeze(-1)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options) -> "PPIClassifier":
        """Read a model, in eval mode, from a folder or a repository of the Hub; all weights fit or it fails.

        `options` are those of the Hub's download: `revision`, `token`, `cache_dir`, `local_files_only`.
        """
        from ppi_lib.checkpoint import load_model
        from ppi_lib.hub import fetch

        return load_model(fetch(pretrained_model_name_or_path, **options))[0]

    def _save_pretrained(self, save_directory: Path) -> None:
        from ppi_lib.checkpoint import save_model

        save_model(self, save_directory)

    def generate_model_card(self, **facts) -> ModelCard:
        """Return the card that the mixin puts beside the weights; `facts` are those of `hub.model_card`."""
        from ppi_lib.hub import model_card

        return ModelCard(model_card(self, **facts))


def parameter_table(model: PPIClassifier) -> pd.DataFrame:
    """Return `part`, `parameters` and `trainable` for each part of the architecture, in the order of the data."""
    encoder, interaction = model.encoder, model.interaction
    parts = {
        "patch embedding": encoder.patch_embedding.parameters(),
        "position embedding": [encoder.position],
        "CLS token": [encoder.cls_token],
        "encoder layers": encoder.layers.parameters(),
        "encoder norm": encoder.norm.parameters(),
        "CLS_int": [interaction.cls_int],
        "cross-attention layers": interaction.layers.parameters(),
        "interaction norm": interaction.norm.parameters(),
        "head": model.head.parameters(),
    }
    rows = []
    for part, parameters in parts.items():
        tensors = list(parameters)
        rows.append((part, sum(p.numel() for p in tensors), any(p.requires_grad for p in tensors)))
    return pd.DataFrame(rows, columns=["part", "parameters", "trainable"])
