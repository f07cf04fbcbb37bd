"""Which attention weights, patches and residues carry the logit of a pair, with Captum.

**Weights.** The attention weights of both cross-attention layers are two explicit inputs of one function, f(w1, w2):
the logit if these weights stood there, whatever the queries ask for. Integrated gradients (Sundararajan et al. 2017,
arXiv:1703.01365) run from f(uniform, uniform), where CLS_int looks at all real tokens alike, to f(w1, w2), the logit
itself. So the attributions of both layers together sum to that difference. In the model w2 follows from w1 through
layer 2's query; here that path is cut, and what layer 1 does by steering layer 2 stands with layer 2.

Weights sum to one, so a weight can only grow at the cost of others, and a gradient to it is known up to a constant
per head. The constant is fixed by `on_simplex`: what one weight gains, all real tokens lose alike. An attribution is
then what looking at this token does compared with looking at the average token.

**Patches.** Integrated gradients, ablation one by one, and sampled Shapley values (Castro et al. 2009, Comput Oper Res
36:1726), either of the patches, through the encoder, or of their tokens, with the encoder's output kept. A token has
seen the whole protein, so a token's attribution is the patch's only as far as the encoder keeps tokens local.

**Residues.** Integrated gradients through pooling. Pooling is a mean, so the 32 residues of a patch share one gradient:
they differ by what they are, not by how the model reads each of them. Do not read it as single-residue resolution.

Shape letters: B pairs, K cross-attention layers, H heads, P patches of A, Q patches of B, T = P + Q, L residues.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppi_lib.attribution import (
    DEFAULT_METHOD,
    METHODS,
    TOKENS_PER_PATCH,
    WEIGHT_METHODS,
    AttributionConfig,
    attention_batch,
    refine,
    score_patches,
    weight_batch,
)
from ppi_lib.encoder import Patches, pool_residues
from ppi_lib.errors import InputError
from ppi_lib.explained import AttentionMap, PatchAttribution, ResidueAttribution, WeightAttribution
from ppi_lib.model import PPIClassifier
from ppi_lib.pair_inputs import (
    Baseline,
    Coordinates,
    Pair,
    PairInputs,
    Source,
    as_read,
    batches_of_pairs,
    coordinates,
    encode_inputs,
    open_source,
    read_patches,
    require_baseline,
    token_logits,
)
from ppi_lib.tokens import TokenTable


def _check_method(method: str, methods: Sequence[str]) -> None:
    if method not in methods:
        raise InputError(f"method is {method!r}; expected one of {', '.join(methods)}.")


class Batch(NamedTuple):
    """Pairs of like length, ready to be explained."""

    places: list[int]
    """Which of the given pairs they are."""
    coordinates: list[Coordinates]
    patches: PairInputs
    tokens: PairInputs
    logits: list[float]


def read_batches(
    model: PPIClassifier,
    source: Source,
    pairs: Sequence[Pair],
    *,
    baseline: Baseline | None = "protein",
    config: AttributionConfig = AttributionConfig(),
    table: TokenTable | None = None,
) -> Iterator[Batch]:
    """Yield all pairs, those of like length together; tokens of `table` are not computed again."""
    opened, patch = open_source(model, source, pairs), model.config.patch
    # first of all pairs, so that a bad one is named before any work
    where = [coordinates(model, opened, pair) for pair in pairs]
    require_baseline(model, opened, pairs, baseline)
    for places in batches_of_pairs(opened, pairs, TOKENS_PER_PATCH * config.batch_patches, patch):
        x = read_patches(model, source, [pairs[place] for place in places], baseline)
        tokens = encode_inputs(model, x, table)
        with torch.no_grad():
            logits = token_logits(model)(tokens.a, tokens.b, *tokens.lengths).tolist()
        yield Batch(places.tolist(), [where[place] for place in places], x, tokens, logits)


def _cut(values: Tensor, batch: Batch, row: int) -> np.ndarray:
    """Return the real patches `(..., T)` of one pair."""
    return values[row][..., batch.patches.real[row]].cpu().numpy()


def _warn_of_gaps(
    found: Sequence[PatchAttribution | WeightAttribution | ResidueAttribution], config: AttributionConfig
):
    """Say so where an integral did not reach the difference that it should sum to."""
    off = [one for one in found if abs(one.error) > 0.01 * abs(one.logit - one.baseline_logit)]
    if off:
        worst = max(off, key=lambda one: abs(one.error))
        warnings.warn(
            f"{len(off)} of {len(found)} integrals are off by more than 1% of the logit difference, the worst by "
            f"{worst.error:+.2g} of {worst.logit - worst.baseline_logit:+.2g}, at up to {config.most_steps} steps. "
            "Raise AttributionConfig.most_steps, or take another baseline.",
            stacklevel=3,
        )


def explain_pairs(
    model: PPIClassifier,
    source: Source,
    pairs: Sequence[Pair],
    method: str = DEFAULT_METHOD,
    *,
    baseline: Baseline = "protein",
    config: AttributionConfig = AttributionConfig(),
    table: TokenTable | None = None,
) -> list[PatchAttribution]:
    """Score the patches of many pairs, in their order; see `attribute_patches`."""
    _check_method(method, METHODS)
    baseline = None if method in ("attention", *WEIGHT_METHODS) else baseline
    found: dict[int, PatchAttribution] = {}
    with as_read(model) as model:
        for batch in read_batches(model, source, pairs, baseline=baseline, config=config, table=table):
            scores, baselines = score_patches(model, batch.patches, batch.tokens, method, config)
            for row, place in enumerate(batch.places):
                about = batch.coordinates[row], method, _cut(scores, batch, row)
                found[place] = PatchAttribution(*about, batch.logits[row], baselines[row].item())
    ordered = [found[place] for place in range(len(pairs))]
    if method.startswith("integrated"):
        _warn_of_gaps(ordered, config)
    return ordered


def explain_weights(
    model: PPIClassifier,
    source: Source,
    pairs: Sequence[Pair],
    method: str = "integrated_weights",
    *,
    config: AttributionConfig = AttributionConfig(),
    table: TokenTable | None = None,
) -> list[WeightAttribution]:
    """Attribute the logits of many pairs to their attention weights, in their order; see `attribute_weights`."""
    _check_method(method, WEIGHT_METHODS)
    found: dict[int, WeightAttribution] = {}
    with as_read(model) as model:
        for batch in read_batches(model, source, pairs, baseline=None, config=config, table=table):
            weights, attributions, baselines = weight_batch(model, batch.tokens, method, config)
            for row, place in enumerate(batch.places):
                parts = _cut(weights, batch, row), _cut(attributions, batch, row)
                about = batch.coordinates[row], method, *parts
                found[place] = WeightAttribution(*about, batch.logits[row], baselines[row].item())
    ordered = [found[place] for place in range(len(pairs))]
    if method.startswith("integrated"):
        _warn_of_gaps(ordered, config)
    return ordered


def attention_map(model: PPIClassifier, source: Source, pair: Pair) -> AttentionMap:
    """Return the attention weights of a pair. They say where CLS_int looked, not what that did to the logit."""
    with as_read(model) as model:
        (batch,) = read_batches(model, source, [pair], baseline=None)
        return AttentionMap(batch.coordinates[0], _cut(attention_batch(model, batch.tokens), batch, 0))


def attribute_weights(
    model: PPIClassifier,
    source: Source,
    pair: Pair,
    method: str = "integrated_weights",
    *,
    config: AttributionConfig = AttributionConfig(),
) -> WeightAttribution:
    """Attribute the logit to the attention weights of both layers.

    `integrated_weights` sums to the difference to uniform attention; `gradient_weights`, one gradient times the
    weights, is the cheap form and promises no sum.
    """
    return explain_weights(model, source, [pair], method, config=config)[0]


def attribute_patches(
    model: PPIClassifier,
    source: Source,
    pair: Pair,
    method: str = DEFAULT_METHOD,
    *,
    baseline: Baseline = "protein",
    config: AttributionConfig = AttributionConfig(),
) -> PatchAttribution:
    """Score the patches of both proteins by one of `METHODS`.

    Those on weights are summed over layers and heads; `attention` is their mean. `baseline` is what takes a patch's
    place, for tokens and patches; from `training` an integral through the encoder takes 256 steps or more, which it
    then does, since layer norms turn fast around the zero of the standardised input. The default method is the one
    that the scorecard puts first (README).
    """
    return explain_pairs(model, source, [pair], method, baseline=baseline, config=config)[0]


def attribute_residues(
    model: PPIClassifier,
    embeddings: Source,
    pair: Pair,
    *,
    baseline: Baseline = "protein",
    config: AttributionConfig = AttributionConfig(),
) -> ResidueAttribution:
    """Attribute the logit to the residue embeddings `(L, E)` of both proteins, through pooling and the encoder.

    A residue's baseline is that of its patch. The scores of a patch's residues sum to the patch's own integrated
    gradients.
    """
    if not isinstance(embeddings, Mapping):
        raise InputError(
            f"embeddings is a {type(embeddings).__name__}; expected residue embeddings (L, E) by protein, such as "
            "profile_residues makes. A store holds patches only."
        )
    with as_read(model) as model:
        (batch,) = read_batches(model, embeddings, [pair], baseline=baseline, config=config)
        x = batch.patches
        residues = [torch.as_tensor(embeddings[p], dtype=torch.float32).to(x.a.device)[None] for p in pair]
        with torch.no_grad():
            low = model(Patches(x.base_a, x.lengths_a), Patches(x.base_b, x.lengths_b))
        scores = _integrate_residues(model, residues, x, torch.tensor(batch.logits, device=low.device) - low, config)
        found = ResidueAttribution(batch.coordinates[0], *scores, batch.logits[0], low.item())
    _warn_of_gaps([found], config)
    return found


def _integrate_residues(
    model: PPIClassifier, residues: list[Tensor], x: PairInputs, difference: Tensor, config: AttributionConfig
) -> list[np.ndarray]:
    """Return the integrated gradients of the residues of one pair, A's and B's, refined until they are complete."""
    from captum.attr import IntegratedGradients

    patch = model.config.patch
    spread = [base.repeat_interleave(patch, dim=1) for base in (x.base_a, x.base_b)]
    bases = tuple(base[:, : part.shape[1]] for base, part in zip(spread, residues, strict=True))

    def logits(a, b):
        return model(pool_residues(a, patch=patch), pool_residues(b, patch=patch))

    rows = max(1, config.batch_patches // x.real.shape[1])
    integrals = IntegratedGradients(logits)

    def integrate(_, config):
        found = integrals.attribute(tuple(residues), bases, n_steps=config.steps, internal_batch_size=rows)
        return torch.cat([part.detach().sum(dim=-1) for part in found], dim=1)

    found = refine(integrate, difference, config)[0].cpu().numpy()
    return np.split(found, [residues[0].shape[1]])
