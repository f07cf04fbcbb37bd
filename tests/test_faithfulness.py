"""Faithfulness, scorecard: known answers on a model whose logit is a sum over patches."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY

from ppi_lib.attribute import explain_pairs
from ppi_lib.attribution import AttributionConfig, score_patches
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import PRESETS
from ppi_lib.errors import InputError
from ppi_lib.faithfulness import (
    FRACTIONS,
    random_patches,
    remove_at_random,
    remove_by_score,
    sensitivity,
    top_patches,
)
from ppi_lib.model import PPIClassifier
from ppi_lib.pair_inputs import encode_inputs, read_patches
from ppi_lib.scorecard import (
    choose_default,
    compare_maps,
    drawn_means,
    randomised,
    rank_correlation,
    score_methods,
    swap_partners,
)

PAIRS = [("P06", "P09"), ("P04", "P03"), ("P07", "P08"), ("P10", "P06")]
CONFIG = AttributionConfig(steps=8, samples=3)


@pytest.fixture(scope="module")
def model(store):
    model = create_ppi_classifier(config=PRESETS["v3"]).eval()
    model.encoder.patch_embedding.set_standardisation(*store.moments(store.ids))
    with torch.no_grad():
        model.head[-1].weight *= 4
    return model


class Sum(PPIClassifier):
    """A model whose logit is the sum of one channel over all real patches of both proteins."""

    def __init__(self):
        super().__init__(TINY)

    def forward(self, a, b):
        return a.values[..., 30].sum(dim=1) + b.values[..., 30].sum(dim=1)


@pytest.fixture(scope="module")
def inputs(model, store):
    return read_patches(model, store, PAIRS)


@pytest.fixture(scope="module")
def truth(inputs):
    """What each patch adds to the logit of `Sum`."""
    return torch.cat([inputs.a - inputs.base_a, inputs.b - inputs.base_b], dim=1)[..., 30]


def test_the_top_is_the_highest_real_patches_rounded_up():
    scores = torch.tensor([[1.0, 5.0, 3.0, 9.0], [1.0, 1.0, 0.0, -1.0]])
    real = torch.tensor([[True, True, True, False], [True, True, True, True]])
    assert top_patches(scores, real, 0.1).tolist() == [[False, True, False, False], [True, False, False, False]]
    assert top_patches(scores, real, 0.5).sum(dim=1).tolist() == [2, 2]
    assert torch.equal(top_patches(scores, real, 1.0), real)
    assert not top_patches(scores, real, 0.0).any()


def test_random_patches_are_as_many_of_each_protein_and_real(inputs):
    chosen = top_patches(torch.rand(inputs.real.shape), inputs.real, 0.4)
    drawn = random_patches(chosen, inputs, 50, torch.Generator().manual_seed(0))
    p = inputs.a.shape[1]
    assert not (drawn & ~inputs.real).any()
    for part in (slice(None, p), slice(p, None)):
        assert (drawn[..., part].sum(dim=-1) == chosen[:, part].sum(dim=-1)).all()
    assert len(torch.unique(drawn.flatten(1), dim=0)) > 10


def test_removal_of_a_sum_is_the_sum_of_what_was_removed(inputs, truth):
    found = remove_by_score(Sum(), inputs, truth, CONFIG)
    numbers = found.numbers()
    top = top_patches(truth, inputs.real, 0.1)
    everything = truth.sum(dim=1)
    assert torch.allclose(numbers["comprehensiveness"], (truth * top).sum(dim=1), atol=1e-4)
    assert torch.allclose(numbers["sufficiency"], everything - (truth * top).sum(dim=1), atol=1e-4)
    assert torch.allclose(found.deletion[0], found.full)
    assert torch.allclose(found.insertion[-1], found.full)
    assert torch.allclose(found.deletion[-1], found.insertion[0])
    assert found.deletion.shape == (len(FRACTIONS), len(PAIRS))
    assert (numbers["comprehensiveness"] >= numbers["comprehensiveness_random"]).all()
    assert (numbers["deletion"] <= numbers["insertion"] + 1e-4).all()


def test_true_scores_explain_every_loss_and_zeros_none(inputs, truth):
    chance = remove_at_random(Sum(), inputs, CONFIG)
    assert torch.allclose(chance.infidelity(truth), torch.zeros(len(PAIRS)), atol=1e-4)
    assert torch.allclose(chance.infidelity(3 * truth), torch.zeros(len(PAIRS)), atol=1e-4)
    assert torch.allclose(chance.infidelity(0 * truth), torch.ones(len(PAIRS)))
    assert (chance.infidelity(truth.flip(0) * inputs.real) > 0.05).any()


def test_infidelity_is_that_of_captum(inputs, truth):
    from captum.metrics import infidelity

    chance, scores = remove_at_random(Sum(), inputs, CONFIG), torch.rand(truth.shape) * inputs.real
    keep, values = torch.ones_like(truth), truth.sum(dim=1)
    hidden = chance.hidden.float().transpose(0, 1).flatten(0, 1)  # captum repeats each pair in place

    def lost(kept):
        repeated = truth.repeat_interleave(len(kept) // len(truth), dim=0)
        return values.repeat_interleave(len(kept) // len(truth)) - ((1 - kept) * repeated).sum(dim=1)

    found = [
        infidelity(lost, lambda x: (hidden, x - hidden), keep, given, n_perturb_samples=40, normalize=True)
        for given in (scores, torch.zeros_like(scores) + 1e-9)
    ]
    plain = infidelity(lost, lambda x: (hidden, x - hidden), keep, 0 * scores, n_perturb_samples=40)
    assert torch.allclose(chance.infidelity(scores), found[0] / plain, atol=1e-3)


def test_sensitivity_is_zero_without_noise_and_grows_with_it(model, inputs):
    tokens = encode_inputs(model, inputs)
    scores = score_patches(model, inputs, tokens, "attention", CONFIG).scores
    still, little, much = (
        sensitivity(model, inputs, scores, "attention", CONFIG, radius=radius) for radius in (0.0, 0.05, 1.0)
    )
    assert (still < 1e-5).all()
    assert (still < little).all()
    assert (little < much).all()


def test_the_scorecard_has_every_measure_with_its_interval(model, store):
    methods = ("attention", "ablated_tokens")
    card = score_methods(model, store, PAIRS, methods, config=CONFIG, draws=50, progress=False)
    values = card.table.pivot(index="method", columns="measure", values="value")
    assert set(values.index) == {*methods, "random"}
    assert {"comprehensiveness", "comprehensiveness_ratio", "infidelity", "sensitivity"} <= set(values.columns)
    assert (card.table["low"] <= card.table["high"]).all()
    assert len(card.pairs) == 3 * len(PAIRS)
    assert set(card.curves["fraction"]) == set(FRACTIONS)
    assert card.default in methods
    assert np.allclose(np.diag(card.agreement), 1)
    row = card.pairs[(card.pairs["method"] == "attention") & (card.pairs["protein_b"] == "P03")]
    assert values.loc["attention", "deletion"] != row["deletion"].item()


def test_the_default_is_the_best_mean_rank():
    names = ["comprehensiveness", "sufficiency", "deletion", "insertion", "infidelity"]
    good, bad = dict(zip(names, (3, 1, 1, 3, 0.1), strict=True)), dict(zip(names, (1, 3, 3, 1, 0.5), strict=True))
    rows = [(m, name, v) for m, values in (("bad", bad), ("good", good)) for name, v in values.items()]
    assert choose_default(pd.DataFrame(rows, columns=["method", "measure", "value"])) == "good"


def test_means_over_drawn_proteins_leave_out_what_is_unknown():
    values = np.array([[1.0, np.nan], [3.0, 5.0]])
    found = drawn_means(values, [("a", "b"), ("c", "d")], draws=200)
    assert found[0].tolist() == [2.0, 5.0]
    assert set(np.unique(found[1:, 1][~np.isnan(found[1:, 1])])) == {5.0}
    assert np.nanstd(found[1:, 0]) > 0.1


def test_a_randomised_model_gives_another_map_on_the_same_input(model, store):
    other = randomised(model)
    assert torch.equal(other.encoder.patch_embedding.input_mean, model.encoder.patch_embedding.input_mean)
    assert not torch.equal(other.encoder.position, model.encoder.position)
    first = explain_pairs(model, store, PAIRS, "ablated_tokens")
    correlations = compare_maps(first, explain_pairs(other, store, PAIRS, "ablated_tokens"))
    assert np.allclose(compare_maps(first, first), 1)
    assert (correlations < 0.99).all()


def test_swapping_the_partner_for_itself_changes_nothing_and_for_another_something(model, store):
    same = swap_partners(model, store, PAIRS, [b for _, b in PAIRS], "ablated_tokens")
    assert np.allclose(same["correlation"], 1)
    assert np.allclose(same["change"], 0, atol=1e-4)
    other = swap_partners(model, store, PAIRS, ["P05"] * len(PAIRS), "ablated_tokens")
    assert (other["change"] > 1e-4).all()


def test_rank_correlation_has_no_value_for_a_flat_map():
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 20, 15])) == pytest.approx(0.5)
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3.0)))


def test_an_unknown_method_is_named(model, store):
    with pytest.raises(InputError, match="nope"):
        score_methods(model, store, PAIRS, ["nope"])
