import dataclasses

import pytest
import torch
from torch import nn

from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import PRESETS, Dropout, MAEEncoder, ModelConfig, Patches, patch_mask, pool_residues
from ppi_lib.errors import InputError
from ppi_lib.model import (
    CrossAttention,
    InteractionCrossAttention,
    InteractionMLPHead,
    PPIClassifier,
    TokenPairs,
)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def v5() -> PPIClassifier:
    return create_ppi_classifier().eval()


@pytest.fixture(scope="module")
def small() -> PPIClassifier:
    return create_ppi_classifier(config=PRESETS["v3"]).eval()


def residues(*lengths: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, length, 960, generator=generator) for length in lengths]


def padded(embedding: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad with numbers that would be noticed."""
    filler = torch.full((1, length - embedding.shape[1], 960), 7.0)
    mask = torch.arange(length)[None] < embedding.shape[1]
    return torch.cat([embedding, filler], dim=1), mask


def test_v5_has_the_documented_parameters(v5):
    encoder = v5.encoder
    assert count(v5) == 101_587_201
    assert count(encoder) == 86_948_352
    assert sum(p.numel() for p in v5.parameters() if p.requires_grad) == 14_638_849
    assert count(encoder.patch_embedding) == 738_048
    assert encoder.position.numel() == 1_153_536
    assert encoder.cls_token.numel() == 768
    assert count(encoder.layers) == 85_054_464
    assert count(encoder.norm) == 1_536
    assert count(v5.interaction) == 14_178_048
    assert v5.interaction.cls_int.numel() == 768
    assert [count(layer) for layer in v5.interaction.layers] == [7_087_872] * 2
    assert count(v5.interaction.norm) == 1_536
    assert count(v5.head) == 460_801


def test_names_of_v5_are_there(v5):
    assert isinstance(v5.encoder, MAEEncoder)
    assert isinstance(v5.interaction, InteractionCrossAttention)
    assert isinstance(v5.head, InteractionMLPHead)
    a, b = residues(40, 70)
    assert v5.get_interaction_embeddings(a, b).shape == (1, 768)


@torch.no_grad()
def test_padding_changes_nothing(v5):
    a, b = residues(30, 500)
    alone = v5(a, b)
    for length in (47, 64, 1502):
        long_a, mask = padded(a, length)
        assert torch.allclose(v5(long_a, b, mask_a=mask), alone, atol=1e-5, rtol=0)
        assert torch.allclose(v5(b, long_a, mask_b=mask), alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_batch_gives_what_each_pair_gives_alone(v5):
    a, b = residues(1, 333, 1502, 64), residues(32, 33, 90, 1000, seed=1)
    alone = torch.cat([v5(x, y) for x, y in zip(a, b, strict=True)])
    batch_a, mask_a = map(torch.cat, zip(*(padded(x, 1502) for x in a), strict=True))
    batch_b, mask_b = map(torch.cat, zip(*(padded(x, 1502) for x in b), strict=True))
    order = torch.tensor([2, 0, 3, 1])
    batch = v5(batch_a[order], batch_b[order], mask_a[order], mask_b[order])
    assert torch.allclose(batch, alone[order], atol=1e-5, rtol=0)
    assert alone.unique().numel() == 4


@torch.no_grad()
def test_the_order_of_the_two_proteins_does_not_matter(v5):
    a, b = residues(77, 1000)
    assert (v5(a, b).sigmoid() - v5(b, a).sigmoid()).abs().item() <= 1e-6


@torch.no_grad()
@pytest.mark.parametrize("residue", [0, 47, 48, 1399, 1501])
def test_every_residue_counts(v5, residue):
    a, b = residues(1502, 100)
    changed = a.clone()
    changed[0, residue] += 3
    assert (v5(changed, b) - v5(a, b)).abs().item() > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 63, 64, 1501, 1502])
def test_all_lengths_work_and_pooling_commutes_with_the_projection(small, length):
    a, b = residues(length, 50)
    encoder = small.encoder
    per_residue = encoder.patch_embedding(a) + encoder.position[:length]
    explicit = torch.cat([part.mean(dim=1, keepdim=True) for part in per_residue.split(32, dim=1)], dim=1)
    pooled = pool_residues(a)
    assert torch.allclose(encoder.embed(*pooled), explicit, atol=1e-5)
    assert torch.allclose(small(a, b), small(pooled, pool_residues(b)), atol=1e-5, rtol=0)


@torch.no_grad()
def test_standardised_input_still_commutes_with_pooling(small):
    model = create_ppi_classifier(config=PRESETS["v3"]).eval()
    model.encoder.patch_embedding.set_standardisation(torch.randn(960), torch.rand(960) + 0.5)
    (a,) = residues(70)
    explicit = model.encoder.patch_embedding(a)[0].split(32)
    pooled = model.encoder.patch_embedding(pool_residues(a).values)[0]
    assert torch.allclose(pooled, torch.stack([part.mean(dim=0) for part in explicit]), atol=1e-4)


@pytest.mark.parametrize("length", [-1, 0, 1503])
def test_lengths_out_of_range_are_refused(small, length):
    good = pool_residues(*residues(10))
    with pytest.raises(InputError, match="expected 1 to 1502"):
        small(Patches(torch.zeros(1, 47, 960), torch.tensor([length])), good)


def test_another_embedding_width_is_refused(small):
    with pytest.raises(InputError, match=r"1280 wide.*reads 960"):
        small(torch.zeros(1, 10, 1280), torch.zeros(1, 10, 1280))


def plain_attention(cross: CrossAttention) -> nn.MultiheadAttention:
    plain = nn.MultiheadAttention(cross.q_proj.in_features, cross.heads, batch_first=True)
    projections = (cross.q_proj, cross.k_proj, cross.v_proj)
    plain.in_proj_weight.data = torch.cat([p.weight.data for p in projections])
    plain.in_proj_bias.data = torch.cat([p.bias.data for p in projections])
    plain.out_proj.load_state_dict(cross.out_proj.state_dict())
    return plain


def test_cross_attention_without_projected_tokens_equals_the_plain_one():
    torch.manual_seed(0)
    cross = CrossAttention(768, 8, dropout=0.1).eval()
    for projection in (cross.q_proj, cross.k_proj, cross.v_proj, cross.out_proj):
        nn.init.normal_(projection.bias)
    query, tokens = torch.randn(5, 768), torch.randn(5, 94, 768)
    mask = torch.arange(94) < torch.tensor([2, 36, 94, 50, 1])[:, None]
    context, (weights,) = cross(query, [TokenPairs(tokens, mask)])
    expected, expected_weights = plain_attention(cross)(
        query[:, None], tokens, tokens, key_padding_mask=~mask, average_attn_weights=False
    )
    plain_context, plain_weights = cross.plain(query, tokens, mask)
    assert torch.allclose(context, plain_context, atol=1e-5)
    assert torch.allclose(weights, plain_weights, atol=1e-5)
    assert torch.allclose(context, expected[:, 0], atol=1e-5)
    assert torch.allclose(weights, expected_weights[:, :, 0], atol=1e-5)


def test_groups_of_pairs_and_one_query_for_all_change_nothing():
    torch.manual_seed(0)
    cross = CrossAttention(64, 4, dropout=0.1).eval()
    query, tokens = torch.randn(1, 64), torch.randn(5, 9, 64)
    mask = torch.arange(9) < torch.tensor([2, 3, 3, 9, 7])[:, None]
    whole, (weights,) = cross(query.expand(5, -1), [TokenPairs(tokens, mask)])
    for shared in (query, query.expand(5, -1)):
        groups = [TokenPairs(tokens[:3, :3], mask[:3, :3]), TokenPairs(tokens[3:], mask[3:])]
        context, (short, long) = cross(shared, groups)
        assert torch.allclose(context, whole, atol=1e-6)
        assert torch.allclose(short, weights[:3, :, :3], atol=1e-6)
        assert torch.allclose(long, weights[3:], atol=1e-6)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.75])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_scales_the_rest_and_passes_the_same_gradient(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(1001, 999, dtype=dtype, requires_grad=True)
    y = Dropout(p)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y)
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.003)
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=0.01)
    assert torch.equal(Dropout(p).eval()(x), x)


def test_attention_weights_cover_the_real_patches_only(small):
    a, b = residues(100, 300)
    interaction = small.interact(a, b)
    assert len(interaction.attention) == 2
    for weights in interaction.attention:
        assert weights.shape == (1, 8, 4 + 10)
        assert torch.allclose(weights.sum(dim=-1), torch.ones(1, 8), atol=1e-6)
    long_a, mask = padded(a, 500)
    for weights in small.interact(long_a, b, mask_a=mask).attention:
        assert weights[:, :, 4:16].abs().max() == 0


def test_only_the_interaction_and_the_head_train_when_the_encoder_is_frozen(small):
    model = create_ppi_classifier(config=PRESETS["v3"])
    a, b = residues(100, 300)
    model(a, b).sum().backward()
    with_gradient = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {"interaction", "head"}


def test_weights_depend_on_the_seed_alone():
    first, again, other = (create_ppi_classifier(config=PRESETS["v3"], seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.encoder.position, again.encoder.position)
    assert not torch.equal(first.encoder.position, other.encoder.position)


def test_patch_mask_marks_patches_that_hold_a_residue():
    mask = patch_mask(torch.tensor([1, 32, 33]), 3)
    assert mask.tolist() == [[True, False, False], [True, False, False], [True, True, False]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "layers is 0"),
        ({"heads": 7}, "heads=7 does not divide"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"activation": "swish"}, "'swish'; expected 'gelu' or 'relu'"),
        ({"head_widths": (0,)}, "head_widths is 0"),
    ],
)
def test_config_says_what_is_wrong(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(ModelConfig(), **change)
