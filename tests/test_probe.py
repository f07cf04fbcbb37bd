import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.errors import InputError
from ppi_lib.probe import cross_probe_property, mean_tokens, probe_pairs, probe_property
from ppi_lib.proteins import Pairs

IDS = [f"P{i}" for i in range(200)]


@pytest.fixture(scope="module")
def tokens() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(200, 6)), index=IDS)


def draw(ids: list[str], count: int, rule, seed: int) -> Pairs:
    a, b = np.random.default_rng(seed).choice(np.array(ids, dtype=object), (2, count))
    return Pairs(a=a, b=b, labels=rule(a, b).astype(np.float32), notes=())


def probed(tokens: pd.DataFrame, rule, **options) -> float:
    return probe_pairs(tokens, draw(IDS[:120], 2000, rule, 0), draw(IDS[120:], 500, rule, 1), **options).auroc


def test_a_mean_token_is_the_mean_of_a_proteins_patch_tokens(store, tiny):
    model = create_ppi_classifier(config=tiny)
    ids = ["P03", "P00", "P03", "P05"]
    found = mean_tokens(model, store, ids, precision="float32", progress=False)
    assert found.index.tolist() == ["P03", "P00", "P05"]
    for protein in found.index:
        with torch.no_grad():
            alone = model.encoder(*store.batch([protein]))[0, 1:].mean(dim=0)
        assert np.allclose(found.loc[protein], alone, atol=1e-5)


def test_pairs_that_the_tokens_tell_are_told(tokens):
    def like(a, b):
        return (tokens.loc[a, 0].to_numpy() * tokens.loc[b, 0].to_numpy()) > 0

    assert probed(tokens, like) > 0.9
    assert probed(tokens, like) == probed(tokens[::-1], like)
    assert probed(tokens, like, most=50) < probed(tokens, like)


def test_pairs_that_the_tokens_do_not_tell_are_not(tokens):
    coin = np.random.default_rng(2)
    assert abs(probed(tokens, lambda a, b: coin.random(len(a)) < 0.5) - 0.5) < 0.1


def test_the_order_of_a_pair_does_not_matter(tokens):
    def both_high(a, b):
        return (tokens.loc[a, 1].to_numpy() + tokens.loc[b, 1].to_numpy()) > 0

    train, validation = draw(IDS[:120], 500, both_high, 0), draw(IDS[120:], 200, both_high, 1)
    swapped = Pairs(a=validation.b, b=validation.a, labels=validation.labels, notes=())
    found = probe_pairs(tokens, train, validation)
    assert found.auroc == probe_pairs(tokens, train, swapped).auroc
    assert found.auroc == roc_auc_score(validation.labels, found.probabilities)


def test_a_property_that_the_tokens_tell_is_told_on_other_proteins(tokens):
    values = (tokens[0] - 2 * tokens[3]).to_dict()
    train, validation = ({p: values[p] for p in part} for part in (IDS[:120], IDS[120:]))
    found = probe_property(tokens, train, validation)
    assert found.r2 > 0.95
    assert found.spearman > 0.95
    shuffled = dict(zip(train, np.random.default_rng(0).permutation(list(train.values())), strict=True))
    assert probe_property(tokens, shuffled, validation).r2 < 0.1


def test_each_part_of_the_proteins_is_told_by_a_fit_on_the_others(tokens):
    values = (tokens[0] - 2 * tokens[3]).to_dict()
    found = cross_probe_property(tokens, values, {protein: protein for protein in IDS})
    assert found.r2 > 0.95
    assert np.corrcoef(found.predicted, list(values.values()))[0, 1] > 0.97


def test_a_group_is_never_told_by_its_own_members(tokens):
    """Twins with tokens alike and a value that only they share: a fit that saw the one would tell the other."""
    generator = np.random.default_rng(3)
    twins = pd.DataFrame(np.repeat(generator.normal(size=(40, 60)), 2, axis=0), index=IDS[:80])
    values = dict(zip(IDS[:80], np.repeat(generator.normal(size=40), 2), strict=True))
    alone = cross_probe_property(twins, values, {protein: protein for protein in values})
    together = cross_probe_property(twins, values, {protein: i // 2 for i, protein in enumerate(values)})
    assert alone.spearman > 0.5
    assert together.spearman < 0.3


def test_bad_arguments_are_refused(tokens):
    def high(a, b):
        return tokens.loc[a, 0].to_numpy() > 0

    pairs = draw(IDS, 50, high, 0)
    with pytest.raises(InputError, match=r"tokens lack .* proteins, e\.g\. P"):
        probe_pairs(tokens[:100], pairs, pairs)
    with pytest.raises(InputError, match="validation split has 50 pairs, all labelled 0"):
        probe_pairs(tokens, pairs, draw(IDS, 50, lambda a, b: np.zeros(len(a)), 0))
    with pytest.raises(InputError, match=r"1 proteins are in train and validation, e\.g\. P1"):
        probe_property(tokens, {"P1": 0.0, "P2": 1.0}, {"P1": 0.0, "P3": 1.0})
    with pytest.raises(InputError, match="train has 1 proteins, validation 2"):
        probe_property(tokens, {"P1": 0.0}, {"P2": 0.0, "P3": 1.0})
    with pytest.raises(InputError, match=r"tokens lack 1 proteins, e\.g\. NOPE"):
        probe_property(tokens, {"P1": 0.0, "NOPE": 1.0}, {"P2": 0.0, "P3": 1.0})
    with pytest.raises(InputError, match=r"groups lack 1 proteins, e\.g\. P2"):
        cross_probe_property(tokens, {"P1": 0.0, "P2": 1.0}, {"P1": 0})
    with pytest.raises(InputError, match="folds is 5 and there are 2 groups"):
        cross_probe_property(tokens, {"P1": 0.0, "P2": 1.0}, {"P1": 0, "P2": 1})
