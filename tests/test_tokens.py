from dataclasses import replace

import numpy as np
import pytest
import torch

from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import PRESETS, Patches
from ppi_lib.errors import InputError
from ppi_lib.predict import predict_pairs
from ppi_lib.proteins import Pairs
from ppi_lib.tokens import encode_proteins


@pytest.fixture(scope="module")
def model():
    return create_ppi_classifier(config=PRESETS["v3"]).eval()


@pytest.fixture(scope="module")
def all_pairs(proteins):
    ids = np.array(list(proteins.sequences), dtype=object)
    rows = np.random.default_rng(0).integers(0, len(ids), (200, 2))
    return Pairs(a=ids[rows[:, 0]], b=ids[rows[:, 1]], labels=None, notes=())


def plain_logits(model, store, pairs) -> np.ndarray:
    with torch.no_grad():
        return np.array(
            [
                model(Patches(*store.batch([a])), Patches(*store.batch([b]))).item()
                for a, b in zip(pairs.a, pairs.b, strict=True)
            ]
        )


def test_prediction_equals_the_plain_forward_of_each_pair(model, store, all_pairs):
    prediction = predict_pairs(model, store, all_pairs, precision="float32", progress=False)
    assert np.allclose(prediction.logits, plain_logits(model, store, all_pairs), atol=1e-5, rtol=0)
    assert np.allclose(prediction.probabilities, 1 / (1 + np.exp(-prediction.logits)))
    assert prediction.logits.std() > 1e-4


def test_order_and_side_do_not_matter(model, store, all_pairs):
    prediction = predict_pairs(model, store, all_pairs, precision="float32", progress=False).probabilities
    swapped = Pairs(a=all_pairs.b, b=all_pairs.a, labels=None, notes=())
    assert np.array_equal(predict_pairs(model, store, swapped, progress=False).probabilities, prediction)
    backwards = all_pairs.take(np.arange(len(all_pairs))[::-1])
    other = predict_pairs(model, store, backwards, progress=False).probabilities
    assert np.allclose(prediction, other[::-1], atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 199])
def test_the_number_of_pairs_does_not_matter(model, store, all_pairs, count):
    whole = predict_pairs(model, store, all_pairs, progress=False).logits
    part = predict_pairs(model, store, all_pairs.take(np.arange(count)), progress=False).logits
    assert np.allclose(part, whole[:count], atol=1e-5, rtol=0)


def test_each_protein_is_encoded_once(model, store, all_pairs, monkeypatch):
    seen = []
    batch = type(store).batch
    monkeypatch.setattr(type(store), "batch", lambda self, ids: seen.extend(ids) or batch(self, ids))
    predict_pairs(model, store, all_pairs, progress=False)
    assert sorted(seen) == list(all_pairs.proteins)


def test_the_cache_is_read_back_and_only_when_it_fits(model, store, tmp_path, monkeypatch):
    path = tmp_path / "tokens.safetensors"
    ids = store.ids[:5]
    made = encode_proteins(model, store, ids, cache=path, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(type(model.encoder), "forward", lambda *args: pytest.fail("encoded again"))
        assert torch.equal(encode_proteins(model, store, ids, cache=path, progress=False).rows, made.rows)
    other = create_ppi_classifier(config=PRESETS["v3"], seed=1)
    assert not torch.equal(encode_proteins(other, store, ids, cache=path, progress=False).rows, made.rows)
    relu = create_ppi_classifier(config=replace(PRESETS["v3"], activation="relu"))
    assert not torch.equal(encode_proteins(relu, store, ids, cache=path, progress=False).rows, made.rows)
    path.write_bytes(path.read_bytes()[:-5])
    assert torch.equal(encode_proteins(model, store, ids, cache=path, progress=False).rows, made.rows)


def test_a_protein_that_is_not_in_the_store_is_named(model, store):
    pairs = Pairs(a=np.array(["P01"], dtype=object), b=np.array(["NOPE"], dtype=object), labels=None, notes=())
    with pytest.raises(InputError, match="NOPE"):
        predict_pairs(model, store, pairs, progress=False)
