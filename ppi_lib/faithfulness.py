"""Is an attribution true of the model? What hiding, keeping, disturbing and replacing say.

Hidden patches are replaced by the baseline before the encoder, so all methods are held to one change of the input, in
logits. **Deletion** hides patches from the highest score down, **insertion** keeps only those. **Comprehensiveness** is
what the logit loses when the top tenth is hidden, **sufficiency** what it loses when only the top tenth is kept
(DeYoung et al. 2020, arXiv:1911.03429; there in probabilities, which saturate). Each stands beside the same with as
many random patches of each protein. **Infidelity** (Yeh et al. 2019, arXiv:1901.09392) hides random patches and asks
whether their scores sum to what the logit lost: the share of the squared loss that the scores, at their best scale, do
not explain. **Sensitivity** (ibid.) is how far the scores can move when the input moves a little.

All take the pairs as interacting: high scores are those that raise the logit.

Shape letters: B pairs, T patches of both proteins, N rows, F fractions, R random draws.
Masks: `keep` is True where a patch stays.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ppi_lib.attribution import AttributionConfig, score_patches
from ppi_lib.model import PPIClassifier
from ppi_lib.pair_inputs import PairInputs, encode_inputs, patch_logits

FRACTIONS = tuple(step / 10 for step in range(11))
TOP = 0.1


def removal_logits(
    model: PPIClassifier, x: PairInputs, keep: Bool[Tensor, "R B T"], config: AttributionConfig
) -> Float[Tensor, "R B"]:
    """Return the logits when only what is in `keep` stays and the baseline stands for all else."""
    logits, p, found = patch_logits(model), x.a.shape[1], []
    pair = torch.arange(keep.shape[1], device=keep.device).repeat(len(keep))
    with torch.no_grad():
        for rows in torch.arange(len(pair), device=keep.device).split(max(1, config.batch_patches // keep.shape[-1])):
            place, mask = pair[rows], keep.flatten(0, 1)[rows][..., None]
            a = torch.where(mask[:, :p], x.a[place], x.base_a[place])
            b = torch.where(mask[:, p:], x.b[place], x.base_b[place])
            found.append(logits(a, b, x.lengths_a[place], x.lengths_b[place]))
    return torch.cat(found).view(keep.shape[:2])


def top_patches(scores: Float[Tensor, "B T"], real: Bool[Tensor, "B T"], fraction: float) -> Bool[Tensor, "B T"]:
    """Return the highest `fraction` of each pair's real patches, rounded up; of equals the first."""
    order = scores.masked_fill(~real, -torch.inf).argsort(dim=1, descending=True, stable=True)
    count = (real.sum(dim=1, keepdim=True) * fraction - 1e-6).ceil()
    return real & (order.argsort(dim=1) < count)


def random_patches(
    chosen: Bool[Tensor, "B T"], x: PairInputs, draws: int, generator: torch.Generator
) -> Bool[Tensor, "R B T"]:
    """Draw as many real patches of each protein as are `chosen` of it."""
    drawn, p = [], x.a.shape[1]
    for part, real in ((chosen[:, :p], x.real_a), (chosen[:, p:], x.real_b)):
        noise = torch.rand((draws, *real.shape), generator=generator).to(real.device).masked_fill(~real, 2)
        drawn.append(noise.argsort(dim=-1).argsort(dim=-1) < part.sum(dim=1)[:, None])
    return torch.cat(drawn, dim=-1)


class Removal(NamedTuple):
    """Logits of a batch as patches are hidden, by their scores and at random."""

    full: Float[Tensor, " B"]
    deletion: Float[Tensor, "F B"]
    """With the top of each of `FRACTIONS` hidden."""
    insertion: Float[Tensor, "F B"]
    """With only that kept."""
    random_deletion: Float[Tensor, " B"]
    """With as many random patches hidden as are in the top tenth, the mean over draws."""
    random_insertion: Float[Tensor, " B"]

    def numbers(self) -> dict[str, Float[Tensor, " B"]]:
        """Return the measures of each pair, in logits; `deletion` and `insertion` are means over the fractions."""
        top = FRACTIONS.index(TOP)
        return {
            "comprehensiveness": self.full - self.deletion[top],
            "comprehensiveness_random": self.full - self.random_deletion,
            "sufficiency": self.full - self.insertion[top],
            "sufficiency_random": self.full - self.random_insertion,
            "deletion": self.deletion.mean(dim=0),
            "insertion": self.insertion.mean(dim=0),
        }


def remove_by_score(
    model: PPIClassifier, x: PairInputs, scores: Float[Tensor, "B T"], config: AttributionConfig, *, draws: int = 10
) -> Removal:
    """Hide and keep the patches of a batch from the highest score down, and random ones beside them."""
    real, generator, count = x.real, torch.Generator().manual_seed(config.seed), len(FRACTIONS)
    tops = torch.stack([top_patches(scores, real, fraction) for fraction in FRACTIONS])
    drawn = random_patches(tops[FRACTIONS.index(TOP)], x, draws, generator)
    # nothing hidden is also the first deletion, so the full logit comes with it
    keep = torch.cat([real & ~tops, tops, real & ~drawn, drawn])
    deletion, insertion, *drawn = removal_logits(model, x, keep, config).split([count, count, draws, draws])
    return Removal(deletion[0], deletion, insertion, *(part.mean(dim=0) for part in drawn))


class RandomRemoval(NamedTuple):
    """What a batch loses when random patches are hidden: one set for all methods that are held against it."""

    hidden: Bool[Tensor, "R B T"]
    losses: Float[Tensor, "R B"]
    """Logit with everything less the logit without the hidden patches."""

    def infidelity(self, scores: Float[Tensor, "B T"]) -> Float[Tensor, " B"]:
        """Return the share of the squared losses that the scores don't explain, 0 (all is explained) to 1.

        This is `captum.metrics.infidelity` with `normalize=True`, over that of scores of zero.
        """
        told = (self.hidden * scores).sum(dim=-1)
        scale = (told * self.losses).mean(dim=0) / told.square().mean(dim=0).clamp(min=1e-12)
        return (scale * told - self.losses).square().mean(dim=0) / self.losses.square().mean(dim=0).clamp(min=1e-12)


def remove_at_random(
    model: PPIClassifier, x: PairInputs, config: AttributionConfig, *, draws: int = 40
) -> RandomRemoval:
    """Hide each patch with a chance of a tenth to a half, `draws` times; the chance is drawn each time."""
    generator, real = torch.Generator().manual_seed(config.seed), x.real
    chance = 0.1 + 0.4 * torch.rand((draws, len(real), 1), generator=generator)
    hidden = (torch.rand((draws, *real.shape), generator=generator) < chance).to(real.device) & real
    logits = removal_logits(model, x, torch.cat([real[None], real & ~hidden]), config)
    return RandomRemoval(hidden, logits[0] - logits[1:])


def sensitivity(
    model: PPIClassifier,
    x: PairInputs,
    scores: Float[Tensor, "B T"],
    method: str,
    config: AttributionConfig,
    *,
    radius: float = 0.05,
    draws: int = 3,
) -> Float[Tensor, " B"]:
    """Return how far the scores move at most, over their length, when noise is added to the patches.

    The noise is uniform within `radius` of the root mean square deviation of the patches that the model was trained on.
    """
    generator, worst = torch.Generator().manual_seed(config.seed), torch.zeros_like(scores[:, 0])
    size = radius / model.encoder.patch_embedding.input_scale
    for _ in range(draws):
        noise = [
            size * (2 * torch.rand(part.shape, generator=generator).to(part.device) - 1) * real[..., None]
            for part, real in ((x.a, x.real_a), (x.b, x.real_b))
        ]
        moved = x._replace(a=x.a + noise[0], b=x.b + noise[1])
        found = score_patches(model, moved, encode_inputs(model, moved), method, config).scores
        worst = torch.maximum(worst, (found - scores).norm(dim=1) / scores.norm(dim=1).clamp(min=1e-12))
    return worst
