"""The methods of attribution, each on a batch of pairs; `attribute` says what they mean.

All is attributed to inputs of a function, not to modules: Captum's attribution to a module fails, or is silently
wrong, on one that is called twice in a forward, as the encoder is. Captum takes a second to import and is imported
when asked for.

Shape letters: B pairs, K cross-attention layers, H heads, P patches of A, Q patches of B, T = P + Q.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ppi_lib.errors import InputError
from ppi_lib.model import PPIClassifier
from ppi_lib.pair_inputs import PairInputs, patch_logits, token_logits

METHODS = (
    "attention",
    "gradient_weights",
    "integrated_weights",
    "integrated_tokens",
    "ablated_tokens",
    "shapley_tokens",
    "integrated_patches",
    "ablated_patches",
    "shapley_patches",
)
WEIGHT_METHODS = METHODS[1:3]
DEFAULT_METHOD = "shapley_tokens"
TOKENS_PER_PATCH = 8  # a token that only the cross-attention reads costs less memory than a patch in the encoder


@dataclass(frozen=True, kw_only=True)
class AttributionConfig:
    steps: int = 64
    """Steps of an integral (Gauss-Legendre)."""
    most_steps: int = 512
    """An integral that misses the difference it should sum to by more than 1% is taken again with twice the steps, up
    to this many."""
    samples: int = 25
    """Orders of the patches that a Shapley value is the mean of."""
    batch_patches: int = 2048
    """Patches that are in the encoder at once: this bounds the memory."""
    seed: int = 0
    """Of the sampled orders."""

    def __post_init__(self):
        for name in ("steps", "most_steps", "samples", "batch_patches"):
            if getattr(self, name) < 1:
                raise InputError(f"AttributionConfig.{name} is {getattr(self, name)}; expected at least 1.")


class WeightBatch(NamedTuple):
    """Attributions of the weights of a batch of pairs."""

    weights: Float[Tensor, "B K H T"]
    attributions: Float[Tensor, "B K H T"]
    baseline_logits: Float[Tensor, " B"]


def on_simplex(weights: Float[Tensor, "B K H T"], real: Bool[Tensor, "B T"]) -> Float[Tensor, "B K H T"]:
    """Spread over the real tokens what the weights lack to one: weights that sum to one stay as they are."""
    share = real / real.sum(dim=1, keepdim=True)
    return weights + (1 - weights.sum(dim=-1, keepdim=True)) * share[:, None, None]


def _rows(x: PairInputs, patches: int) -> int:
    """Return how many pairs of this width are about `patches` patches."""
    return max(1, patches // (x.a.shape[1] + x.b.shape[1]))


def attention_batch(model: PPIClassifier, tokens: PairInputs) -> Float[Tensor, "B K H T"]:
    """Return the attention weights of all layers; padding has exactly 0."""
    with torch.no_grad():
        found = model.interaction(torch.cat([tokens.a, tokens.b], dim=1), tokens.real)
    return torch.stack(found.attention, dim=1)


def refine(
    integrate: Callable[[Bool[Tensor, " B"], AttributionConfig], Float[Tensor, "M *S"]],
    differences: Float[Tensor, " B"],
    config: AttributionConfig,
) -> Float[Tensor, "B *S"]:
    """Return the integrals of all pairs; those that miss the difference of their logits again, with twice the steps.

    `integrate` takes which of the pairs to do.
    """
    found = integrate(torch.ones_like(differences, dtype=torch.bool), config)
    while 2 * config.steps <= config.most_steps and (off := misses(found, differences)).any():
        config = replace(config, steps=2 * config.steps)
        found[off] = integrate(off, config)
    return found


def misses(scores: Float[Tensor, "B *S"], differences: Float[Tensor, " B"]) -> Bool[Tensor, " B"]:
    """Say which scores sum to something more than 1% off the difference of the logits."""
    return (scores.flatten(1).sum(dim=1) - differences).abs() > 0.01 * differences.abs()


def weight_batch(model: PPIClassifier, tokens: PairInputs, method: str, config: AttributionConfig) -> WeightBatch:
    """Attribute the logits of a batch to the attention weights of all layers."""
    from captum.attr import InputXGradient, IntegratedGradients

    read, real, weights = torch.cat([tokens.a, tokens.b], dim=1), tokens.real, attention_batch(model, tokens)
    uniform = on_simplex(torch.zeros_like(weights), real)

    def logits(w, read, real):
        return model.score_weights(on_simplex(w, real), read)

    def integrate(rows, config):
        return (
            IntegratedGradients(logits)
            .attribute(
                weights[rows],
                uniform[rows],
                additional_forward_args=(read[rows], real[rows]),
                n_steps=config.steps,
                internal_batch_size=max(int(rows.sum()), _rows(tokens, TOKENS_PER_PATCH * config.batch_patches)),
            )
            .detach()
        )

    with torch.no_grad():
        low, high = (logits(w, read, real) for w in (uniform, weights))
    if method == "integrated_weights":
        return WeightBatch(weights, refine(integrate, high - low, config), low)
    found = InputXGradient(logits).attribute(weights.requires_grad_(), additional_forward_args=(read, real))
    return WeightBatch(weights.detach(), found.detach(), low)


def _feature_masks(x: PairInputs) -> tuple[Tensor, Tensor]:
    """One number for each patch, A's before B's, the same for all its channels."""
    p, q = x.a.shape[1], x.b.shape[1]
    numbers = torch.arange(p + q, device=x.a.device)[None, :, None]
    return numbers[:, :p], numbers[:, p:]


def value_batch(
    model: PPIClassifier, x: PairInputs, kind: str, level: str, config: AttributionConfig
) -> Float[Tensor, "B T"]:
    """Attribute the logits of a batch to patches, or to tokens if `level` is `tokens`; padding has exactly 0."""
    from captum.attr import FeatureAblation, IntegratedGradients, ShapleyValueSampling

    logits = token_logits(model) if level == "tokens" else patch_logits(model)
    rows = _rows(x, config.batch_patches * (TOKENS_PER_PATCH if level == "tokens" else 1))
    given = {"baselines": (x.base_a, x.base_b), "additional_forward_args": x.lengths}
    inputs, count = (x.a, x.b), len(x.pairs)
    if kind == "integrated":
        size = max(rows, count)
        found = IntegratedGradients(logits).attribute(inputs, n_steps=config.steps, internal_batch_size=size, **given)
        return torch.cat([part.detach().sum(dim=-1) for part in found], dim=1)
    given |= {"feature_mask": _feature_masks(x), "perturbations_per_eval": max(1, rows // count)}
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(config.seed)
        if kind == "ablated":
            found = FeatureAblation(logits).attribute(inputs, **given)
        else:
            found = ShapleyValueSampling(logits).attribute(inputs, n_samples=config.samples, **given)
    # each channel of a patch carries the patch's number; hiding what is not there changes nothing but the rounding
    return torch.cat([part[..., 0] for part in found], dim=1) * x.real


class PatchBatch(NamedTuple):
    scores: Float[Tensor, "B T"]
    baseline_logits: Float[Tensor, " B"]
    """NaN for attention, which has no baseline."""


def score_patches(
    model: PPIClassifier, x: PairInputs, tokens: PairInputs, method: str, config: AttributionConfig
) -> PatchBatch:
    """Score the patches of a batch by `method`; `tokens` are what `encode_inputs` made of `x`.

    Integrals are refined until they are complete.
    """
    kind, level = method.split("_") if "_" in method else (method, "")
    if kind == "attention":
        scores = attention_batch(model, tokens).mean(dim=(1, 2))
        return PatchBatch(scores, torch.full_like(scores[:, 0], torch.nan))
    if level == "weights":
        found = weight_batch(model, tokens, method, config)
        return PatchBatch(found.attributions.sum(dim=(1, 2)), found.baseline_logits)
    read = tokens if level == "tokens" else x
    logits = token_logits(model) if level == "tokens" else patch_logits(model)
    with torch.no_grad():
        low, high = (logits(*values, *read.lengths) for values in ((read.base_a, read.base_b), (read.a, read.b)))
    if kind == "integrated":
        return PatchBatch(
            refine(lambda rows, config: value_batch(model, read.take(rows), kind, level, config), high - low, config),
            low,
        )
    return PatchBatch(value_batch(model, read, kind, level, config), low)
