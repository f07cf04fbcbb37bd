"""Factors and scorer give the plain form's logits, whatever pairs stand together."""

import dataclasses

import pytest
import torch
from torch import nn

import ppi_lib.products
from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.factors import encode_factors, join_factors, load_factors, save_factors
from ppi_lib.grouping import Grid, Listed, group_pairs
from ppi_lib.products import Product
from ppi_lib.scorer import PairScorer
from ppi_lib.tokens import encode_proteins


def shaken(model):
    """Move biases and norms, so that none of them can be forgotten unseen, and let logits differ visibly."""
    torch.manual_seed(0)
    for parameter in (*model.interaction.parameters(), *model.head.parameters()):
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.5)
    model.head[-1].weight.data.mul_(20)
    return model.eval()


@pytest.fixture(params=[1, 2, 3])
def model(tiny, request):
    return shaken(create_ppi_classifier(config=dataclasses.replace(tiny, cross_layers=request.param)))


def plain_logits(model, store, proteins, a, b):
    """Keys and values projected for every token, one pair at a time."""
    table = encode_proteins(model, store, proteins, progress=False)
    tokens = table.rows[:-1].split(table.counts.tolist())
    logits = []
    with torch.no_grad():
        for i, j in zip(a.tolist(), b.tolist(), strict=True):
            both = torch.cat([tokens[i], tokens[j]])[None]
            x = model.interaction.cls_int[None]
            for layer in model.interaction.layers:
                mask = torch.ones(both.shape[:2], dtype=torch.bool)
                x = x + layer.attention.plain(layer.norm1(x), both, mask)[0]
                x = x + layer.feedforward(layer.norm2(x))
            logits.append(model.head(model.interaction.norm(x)).squeeze())
    return torch.stack(logits)


@pytest.fixture(scope="module")
def some_pairs():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 40, (2, 300), generator=generator)


def test_logits_are_those_of_the_plain_form(model, store, some_pairs):
    a, b = some_pairs
    factors = encode_factors(model, store, store.ids, torch.float32, progress=False)
    expected = plain_logits(model, store, store.ids, a, b)
    assert expected.std() > 0.05
    assert torch.allclose(PairScorer(model).score(factors, a, b), expected, atol=1e-5, rtol=0)


def test_bfloat16_is_near(model, store, some_pairs):
    a, b = some_pairs
    exact, rough = (
        PairScorer(model, dtype).score(encode_factors(model, store, store.ids, dtype, progress=False), a, b)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.5 * exact.std()


def test_the_pairs_beside_it_and_the_order_of_the_two_change_nothing(model, store, some_pairs):
    a, b = some_pairs
    factors = encode_factors(model, store, store.ids, torch.float32, progress=False)
    scorer = PairScorer(model)
    together = scorer.score(factors, a, b)
    alone = torch.cat([scorer.score(factors, x[None], y[None]) for x, y in zip(a[:40], b[:40], strict=True)])
    assert torch.allclose(together[:40], alone, atol=1e-5, rtol=0)
    assert torch.allclose(together, scorer.score(factors, b, a), atol=1e-5, rtol=0)


def test_a_grid_of_pairs_and_a_list_of_them_are_the_same(model, store):
    factors = encode_factors(model, store, store.ids, torch.float32, progress=False)
    a, b = (place.reshape(-1) for place in torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij"))
    grid = PairScorer(model).score(factors, a, b)
    assert isinstance(group_pairs(a, b, factors.counts, a.device)[1], Grid)
    shuffled = torch.randperm(1600, generator=torch.Generator().manual_seed(1))
    listed = PairScorer(model).score(factors, a[shuffled], b[shuffled])
    assert torch.allclose(grid[shuffled], listed, atol=1e-5, rtol=0)


def test_large_grids_and_half_grids_are_grouped_whole():
    """More proteins than a batched product takes; the pairs above a diagonal are no grid."""
    counts = torch.randint(1, 47, (300,), generator=torch.Generator().manual_seed(0))
    a, b = torch.arange(150).repeat_interleave(70), torch.arange(150, 220).repeat(150)
    upper = torch.triu_indices(100, 100, 1)
    for (first, second), kind in (((a, b), Grid), (upper, Listed)):
        sides = group_pairs(first, second, counts, first.device)
        for side, places in zip(sides, (first, second), strict=True):
            assert isinstance(side, kind)
            groups = side.groups(places[:, None])
            for run, group in zip(side.runs, groups, strict=True):
                assert len(run) <= 64
                assert torch.equal(group[..., 0], run[:, None].expand_as(group[..., 0]))
            assert torch.equal(side.spread(groups)[:, 0], places)
            total = torch.zeros(len(places), 1, dtype=torch.int64)
            side.add(total, groups)
            assert torch.equal(total[:, 0], places)


def test_a_packed_product_is_the_plain_one(monkeypatch):
    x, weight, bias = torch.randn(70, 96), torch.randn(32, 96), torch.randn(32)
    expected = nn.functional.linear(x, weight, bias)
    assert torch.equal(Product(weight, bias, torch.float32, 64)(x), expected)
    rough = Product(weight, bias, torch.bfloat16, 64)(x.bfloat16())
    assert torch.allclose(rough.float(), expected, atol=0.3)
    monkeypatch.setattr(ppi_lib.products, "pack", lambda *_: None)
    unpacked = Product(weight, bias, torch.bfloat16, 64)
    assert unpacked.packed is None
    assert torch.allclose(unpacked(x.bfloat16()).float(), rough.float(), atol=0.2)


def test_the_training_mode_of_the_model_changes_nothing_and_stays(tiny, store, some_pairs):
    model = create_ppi_classifier(config=tiny)
    factors = encode_factors(model, store, store.ids, torch.float32, progress=False)
    scorer = PairScorer(model.eval())
    before = scorer.score(factors, *some_pairs)
    model.train()
    assert torch.equal(scorer.score(factors, *some_pairs), before)
    assert model.training


def test_relu_models_are_scored_with_relu(tiny, store, some_pairs):
    model = shaken(create_ppi_classifier(config=dataclasses.replace(tiny, activation="relu")))
    factors = encode_factors(model, store, store.ids, torch.float32, progress=False)
    expected = plain_logits(model, store, store.ids, *some_pairs)
    assert torch.allclose(PairScorer(model).score(factors, *some_pairs), expected, atol=1e-5, rtol=0)


def test_factors_come_back_from_a_file_and_join(tiny, store, some_pairs, tmp_path):
    model = shaken(create_ppi_classifier(config=tiny))
    ids = store.ids
    whole = encode_factors(model, store, ids, torch.float32, progress=False)
    for name, part in (("a", ids[:15]), ("b", ids[15:])):
        save_factors(encode_factors(model, store, part, torch.float32, progress=False), tmp_path / name)
    joined = join_factors(*(load_factors(tmp_path / name, torch.device("cpu")) for name in "ab"))
    assert joined.proteins == whole.proteins
    assert joined.places(["P07", "P00"]).tolist() == [7, 0]
    scores = (PairScorer(model).score(factors, *some_pairs) for factors in (whole, joined))
    assert torch.allclose(*scores, atol=1e-5, rtol=0)


def test_threads_give_the_same_in_the_same_order_and_are_put_back(tiny, store):
    model = shaken(create_ppi_classifier(config=tiny))
    factors = encode_factors(model, store, store.ids, torch.float32, progress=False)
    chunks = [tuple(torch.randint(0, 40, (2, size))) for size in (1, 50, 7, 300, 20)]
    scorer = PairScorer(model)
    expected = [scorer.score(factors, *chunk) for chunk in chunks]
    try:
        torch.set_num_threads(3)
        found = list(scorer.score_all(factors, chunks))
        assert torch.get_num_threads() == 3
        next(scorer.score_all(factors, chunks))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert [len(part) for part in found] == [1, 50, 7, 300, 20]
    assert all(torch.allclose(*both, atol=1e-5, rtol=0) for both in zip(found, expected, strict=True))
