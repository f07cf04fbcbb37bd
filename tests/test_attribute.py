"""Attributions: they sum to what they should, padding gets nothing, and batches change nothing."""

from copy import deepcopy
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch

from ppi_lib.attribute import (
    attention_map,
    attribute_patches,
    attribute_residues,
    attribute_weights,
    explain_pairs,
    explain_weights,
)
from ppi_lib.attribution import DEFAULT_METHOD, METHODS, AttributionConfig, score_patches, value_batch
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import PRESETS, Patches
from ppi_lib.errors import InputError
from ppi_lib.lora import add_lora, merge_lora
from ppi_lib.pair_inputs import encode_inputs, read_patches
from ppi_lib.profile import profile_residues
from ppi_lib.tokens import encode_proteins

UNEQUAL = ("P06", "P09")
PAIRS = [UNEQUAL, ("P04", "P03"), ("P07", "P08"), ("P10", "P06")]
BRIEF = AttributionConfig(samples=3)


def sharpened(model, store):
    """A random model hardly looks at anything; louder queries and a louder head make it choose."""
    model.encoder.patch_embedding.set_standardisation(*store.moments(store.ids))
    with torch.no_grad():
        for layer in model.interaction.layers:
            layer.attention.q_proj.weight *= 6
        model.interaction.cls_int *= 30
        model.head[-1].weight *= 4
    return model.eval()


@pytest.fixture(scope="module")
def model(store):
    return sharpened(create_ppi_classifier(config=PRESETS["v3"]), store)


@pytest.fixture(scope="module")
def residues(proteins):
    return {protein: profile_residues(sequence) for protein, sequence in proteins.sequences.items()}


def logit(model, store, pair) -> float:
    with torch.no_grad():
        return model(*(Patches(*store.batch([protein])) for protein in pair)).item()


@pytest.mark.parametrize("method", [name for name in METHODS if name.startswith(("integrated", "shapley"))])
def test_scores_sum_to_the_difference_of_the_logits(model, store, method):
    for found in explain_pairs(model, store, PAIRS[:2], method, config=BRIEF):
        difference = found.logit - found.baseline_logit
        assert abs(difference) > 0.01
        assert abs(found.error) <= (1e-4 if "shapley" in method else 0.01 * abs(difference))
        assert found.logit == pytest.approx(logit(model, store, found.coordinates[:2]), abs=1e-4)


@pytest.mark.parametrize("method", ["integrated_tokens", "integrated_patches"])
def test_an_integral_that_misses_its_sum_is_taken_again(model, store, method):
    coarse = AttributionConfig(steps=2, most_steps=2)
    with pytest.warns(UserWarning, match="integrals are off .* at up to 2 steps"):
        missed = explain_pairs(model, store, PAIRS, method, config=coarse)
    assert any(abs(one.error) > 0.01 * abs(one.logit - one.baseline_logit) for one in missed)
    for found in explain_pairs(model, store, PAIRS, method, config=replace(coarse, most_steps=512)):
        assert abs(found.error) <= 0.01 * abs(found.logit - found.baseline_logit)


@pytest.mark.filterwarnings("ignore:.*integrals are off")
def test_integrals_of_weights_and_residues_are_refined_too(model, store, residues):
    coarse, fine = (AttributionConfig(steps=1, most_steps=most) for most in (1, 512))
    ways = (
        lambda config: explain_weights(model, store, PAIRS, config=config),
        lambda config: [attribute_residues(model, residues, pair, config=config) for pair in PAIRS[:2]],
    )
    for way in ways:
        missed, found = (
            [abs(one.error) / abs(one.logit - one.baseline_logit) for one in way(config)] for config in (coarse, fine)
        )
        assert max(missed) > 0.01 >= max(found)


def test_v5_is_complete_too(store):
    model = sharpened(create_ppi_classifier(), store)
    for method in ("integrated_weights", "integrated_tokens"):
        for found in explain_pairs(model, store, [UNEQUAL, ("P04", "P03")], method):
            assert abs(found.error) <= 0.01 * abs(found.logit - found.baseline_logit)
            assert abs(found.logit - found.baseline_logit) > 1e-3


@pytest.mark.filterwarnings("ignore:.*integrals are off")
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_and_its_padding_change_nothing(model, store, method):
    brief = AttributionConfig(samples=1, steps=8, most_steps=8)
    together = explain_pairs(model, store, PAIRS, method, config=brief)
    for pair, found in zip(PAIRS, together, strict=True):
        (alone,) = explain_pairs(model, store, [pair], method, config=replace(brief, batch_patches=1))
        assert (found.coordinates.protein_a, found.coordinates.protein_b) == pair
        assert len(found.scores) == found.coordinates.patches_a + found.coordinates.patches_b
        if "shapley" not in method:  # the orders are drawn for the padded width
            assert np.allclose(found.scores, alone.scores, atol=2e-4)


@pytest.mark.parametrize("method", METHODS)
def test_padding_gets_exactly_nothing(model, store, method):
    x = read_patches(model, store, PAIRS)
    found = score_patches(model, x, encode_inputs(model, x), method, BRIEF)
    assert not x.real.all()
    assert (found.scores[~x.real] == 0).all()
    assert (found.scores[x.real] != 0).any()


@pytest.mark.parametrize("method", [name for name in METHODS if "shapley" not in name])  # drawn, so alike on average
def test_a_protein_with_itself_gets_the_same_on_both_sides(model, store, method):
    found = attribute_patches(model, store, ("P06", "P06"), method)
    assert found.coordinates.patches_a == found.coordinates.patches_b
    assert np.abs(found.scores_a - found.scores_b).max() <= 1e-4 * np.abs(found.scores).max()


def test_equal_lengths_of_different_proteins_are_not_mixed_up(model, proteins, residues):
    """The encoder runs twice in a forward; at equal lengths a mix-up would pass unseen."""
    a, b = (next(p for p in residues if len(residues[p]) > 130), "P05")
    pair, embeddings = (a, b), {a: residues[a][:96], b: residues[b][:96]}
    found = attribute_patches(model, embeddings, pair, "ablated_patches")
    patches = [torch.tensor(embeddings[p]).unflatten(0, (3, 32)).mean(dim=1) for p in pair]
    length = torch.tensor([96])
    for side, place in ((0, 1), (1, 2)):
        hidden = [part.clone() for part in patches]
        hidden[side][place] = patches[side].mean(dim=0)
        with torch.no_grad():
            full, less = (model(*(Patches(p[None], length) for p in v)).item() for v in (patches, hidden))
        assert (found.scores_a, found.scores_b)[side][place] == pytest.approx(full - less, abs=1e-4)
    swapped = attribute_patches(model, embeddings, (b, a), "ablated_patches")
    assert np.allclose(swapped.scores_a, found.scores_b, atol=1e-4)


def test_attention_is_that_of_the_model(model, store):
    found = attention_map(model, store, UNEQUAL)
    with torch.no_grad():
        expected = model.interact(*(Patches(*store.batch([protein])) for protein in UNEQUAL)).attention
    assert found.weights.shape == (2, 8, found.coordinates.patches_a + found.coordinates.patches_b)
    assert np.allclose(found.weights, torch.cat(expected).numpy(), atol=1e-6)
    assert np.allclose(found.weights.sum(axis=-1), 1, atol=1e-5)


def test_given_weights_score_as_the_model_does(model, store):
    """What attribution differentiates is the model: at its own weights it has its logit."""
    x = read_patches(model, store, PAIRS, None)
    tokens = encode_inputs(model, x)
    read = torch.cat([tokens.a, tokens.b], dim=1)
    with torch.no_grad():
        weights = torch.stack(model.interaction(read, tokens.real).attention, dim=1)
        found = model.score_weights(weights, read)
    assert np.allclose(found, [logit(model, store, pair) for pair in PAIRS], atol=1e-4)


def test_both_layers_carry_attribution_and_the_total_is_exact(model, store):
    for found in explain_weights(model, store, PAIRS):
        assert found.attributions.shape == found.weights.shape == (2, 8, found.weights.shape[-1])
        assert (np.abs(found.attributions).sum(axis=(1, 2)) > 1e-3).all()
        assert abs(found.error) <= 0.01 * abs(found.logit - found.baseline_logit)


def test_a_weight_is_compared_with_the_average_token(model, store):
    """One gradient, written by hand: what a head's weight does is free of what all its tokens share."""
    x = read_patches(model, store, [UNEQUAL], None)
    tokens = encode_inputs(model, x)
    read = torch.cat([tokens.a, tokens.b], dim=1)
    found = attribute_weights(model, store, UNEQUAL, "gradient_weights")
    weights = torch.tensor(found.weights)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(model.score_weights(weights, read).sum(), weights)
    expected = weights * (gradient - gradient.mean(dim=-1, keepdim=True))
    assert np.allclose(found.attributions, expected[0].detach(), atol=1e-5)


def test_the_patch_that_alone_matters_gets_all(model, store):
    """A head that reads nothing but one channel of one protein's tokens: known answer for every value method."""
    x = read_patches(model, store, [UNEQUAL])
    linear = deepcopy(model)
    linear.forward = lambda a, b: a.values[:, 2, 5] - 2 * b.values[:, 1, 7]
    for kind in ("integrated", "ablated", "shapley"):
        scores = value_batch(linear, x, kind, "patches", BRIEF)[0]
        expected = torch.zeros_like(scores)
        expected[2] = (x.a - x.base_a)[0, 2, 5]
        expected[x.a.shape[1] + 1] = -2 * (x.b - x.base_b)[0, 1, 7]
        assert torch.allclose(scores, expected, atol=1e-5)


def test_residues_sum_to_their_patches_and_to_the_logit(model, store, residues):
    pair = ("P06", "P03")
    found = attribute_residues(model, residues, pair)
    patches = attribute_patches(model, residues, pair, "integrated_patches")
    assert len(found.scores_a) == len(residues["P06"])
    sums = [np.add.reduceat(s, np.arange(0, len(s), 32)) for s in (found.scores_a, found.scores_b)]
    assert np.allclose(np.concatenate(sums), patches.scores, atol=1e-4)
    assert abs(found.error) <= 0.01 * abs(found.logit - found.baseline_logit)
    with pytest.raises(InputError, match="store holds patches only"):
        attribute_residues(model, store, pair)


def test_a_table_of_tokens_stands_in_for_the_encoder(model, store, monkeypatch):
    table = encode_proteins(model, store, {p for pair in PAIRS for p in pair}, progress=False)
    expected = explain_pairs(model, store, PAIRS, "integrated_tokens")
    monkeypatch.setattr(model.encoder, "forward", lambda *_: pytest.fail("the encoder was run"))
    found = explain_pairs(model, store, PAIRS, "integrated_tokens", table=table)
    for one, two in zip(found, expected, strict=True):
        assert np.allclose(one.scores, two.scores, atol=1e-4)


def test_baselines_of_other_kinds(model, store):
    given = {protein: np.zeros_like(store[protein]) for protein in UNEQUAL}
    found = [attribute_patches(model, store, UNEQUAL, baseline=kind) for kind in ("protein", "training", given)]
    for one in found:
        assert abs(one.error) <= 1e-4
    assert len({round(one.baseline_logit, 4) for one in found}) == 3


def test_an_integral_that_is_off_says_so(model, store):
    with pytest.warns(UserWarning, match=r"1 of 1 integrals are off.*at up to 2 steps"):
        attribute_patches(model, store, UNEQUAL, "integrated_tokens", config=AttributionConfig(steps=2, most_steps=2))


def test_the_table_counts_residues_from_one(model, store):
    table = attribute_patches(model, store, ("P03", "P04"), "attention").table()
    rows = table[["side", "protein", "patch", "first_residue", "last_residue"]].values.tolist()
    assert rows == [["A", "P03", 1, 1, 32], ["A", "P03", 2, 33, 33], ["B", "P04", 1, 1, 32], ["B", "P04", 2, 33, 64]]


def test_mode_is_put_back_and_half_precision_is_upcast(model, store):
    expected = attribute_patches(model, store, UNEQUAL, "integrated_tokens")
    training = deepcopy(model).train()
    assert np.allclose(attribute_patches(training, store, UNEQUAL, "integrated_tokens").scores, expected.scores)
    assert training.training
    assert training.encoder.training
    for dtype in (torch.bfloat16, torch.float16):
        half = deepcopy(model).to(dtype)
        with pytest.warns(UserWarning, match="16; a float32 copy"):
            found = attribute_patches(half, store, UNEQUAL, "integrated_tokens")
        assert np.corrcoef(found.scores, expected.scores)[0, 1] > 0.95
        assert {p.dtype for p in half.parameters()} == {dtype}


def test_adapters_are_part_of_what_is_explained(model, store):
    plain = attribute_patches(model, store, UNEQUAL, "integrated_tokens")
    adapted = add_lora(deepcopy(model))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter += 0.3
    found = attribute_patches(adapted, store, UNEQUAL, "integrated_tokens")
    merged = attribute_patches(merge_lora(adapted), store, UNEQUAL, "integrated_tokens")
    assert np.allclose(found.scores, merged.scores, atol=1e-3)
    assert not np.allclose(found.scores, plain.scores, atol=1e-2)


def test_what_is_wrong_is_named(model, store):
    cases = [
        (("P06", "NOPE"), {}, "NOPE"),
        (("P00", "P06"), {}, r"P00 is a single patch \(1 residues\).*baseline='training'"),
        (("P06", "P07"), {"method": "nope"}, "'nope'; expected one of attention"),
        (("P06", "P07"), {"baseline": "zero"}, "'zero'; expected protein or training"),
        (("P06", "P07"), {"baseline": {"P06": np.zeros((1, 960))}}, "no patches of P07"),
    ]
    for pair, options, message in cases:
        with pytest.raises(InputError, match=message):
            attribute_patches(model, store, pair, **options)
    jaxtyping.config.update("jaxtyping_disable", True)  # its own error would come first
    try:
        with pytest.raises(InputError, match="expected two protein ids"):
            attribute_patches(model, store, ("P06", 7))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    for source, message in (({"P06": np.zeros((40, 7))}, "nothing for P07"), ({}, "nothing for P06, P07")):
        with pytest.raises(InputError, match=message):
            attribute_patches(model, source, ("P06", "P07"))
    with pytest.raises(InputError, match="7 wide; this model reads 960"):
        attribute_patches(model, {"P06": np.zeros((40, 7)), "P07": np.zeros((40, 7))}, ("P06", "P07"))
    with pytest.raises(InputError, match="pairs are empty"):
        explain_pairs(model, store, [])
    with pytest.raises(InputError, match="steps is 0"):
        AttributionConfig(steps=0)


def test_one_patch_is_enough_where_nothing_takes_its_place(model, store):
    assert attention_map(model, store, ("P00", "P00")).weights.shape == (2, 8, 2)
    assert abs(attribute_weights(model, store, ("P00", "P06")).error) < 1e-2
    found = attribute_patches(model, store, ("P00", "P01"), "shapley_patches", baseline="training")
    assert abs(found.error) <= 1e-4


def test_the_default_is_a_method():
    assert DEFAULT_METHOD in METHODS
