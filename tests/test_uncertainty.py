"""Monte Carlo dropout: what the samples share and where they part."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ppi_lib.calibrate import Calibration
from ppi_lib.errors import InputError
from ppi_lib.model import PPIClassifier
from ppi_lib.predict import predict_pairs
from ppi_lib.uncertainty import sample_logits, summarise_samples


@pytest.fixture
def model(tiny, store):
    return PPIClassifier(tiny).eval()


def test_samples_repeat_by_seed_and_leave_the_model_as_it_was(model, store, pair_sets):
    pairs = pair_sets[1]
    before = predict_pairs(model, store, pairs, progress=False).logits
    one, same, other = (sample_logits(model, store, pairs, samples=3, seed=s, progress=False) for s in (0, 0, 1))
    assert one.shape == (3, len(pairs))
    assert (one == same).all()
    assert not (one == other).any(axis=1).all()
    assert not np.allclose(one[0], one[1])
    assert not model.training
    assert (predict_pairs(model, store, pairs, progress=False).logits == before).all()


def test_samples_of_little_dropout_lie_around_the_logit(model, store, pair_sets):
    pairs = pair_sets[1]
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.01  # so little that the network is a line about its logit
    logits = predict_pairs(model, store, pairs, progress=False, precision="float32").logits
    samples = sample_logits(model, store, pairs, samples=400, precision="float32", progress=False)
    error = samples.std(axis=0) / np.sqrt(400)
    assert error.min() > 0
    assert np.abs(samples.mean(axis=0) - logits).mean() < 3 * error.mean()


def test_summary_by_hand():
    # one pair of a call that all samples share, one that all are unsure of, one on which they contradict each other
    far = 40.0
    found = summarise_samples(np.array([[far, 0, far], [far, 0, -far]]))
    assert found.probabilities == pytest.approx([1, 0.5, 0.5])
    assert found.deviation == pytest.approx([0, 0, 0.5])
    assert found.knowledge == pytest.approx([0, 0, 1], abs=1e-6)


def test_samples_are_calibrated():
    logits = np.array([[2.0, -1.0], [4.0, 0.0]])
    expected = 1 / (1 + np.exp(-logits / 2))
    found = summarise_samples(logits, Calibration(temperature=2.0, prevalence=0.5, pairs=10))
    assert found.probabilities == pytest.approx(expected.mean(axis=0))
    rare = Calibration(prevalence=0.5, pairs=10).probabilities(logits, prevalence=0.001)
    found = summarise_samples(logits, Calibration(prevalence=0.5, pairs=10), prevalence=0.001)
    assert found.deviation == pytest.approx(rare.std(axis=0))


def test_bad_input_is_named(tiny, store, pair_sets):
    with pytest.raises(InputError, match="samples is 1"):
        sample_logits(PPIClassifier(tiny), store, pair_sets[1], samples=1)
    without = replace(tiny, dropout=0.0)
    with pytest.raises(InputError, match="no dropout"):
        sample_logits(PPIClassifier(without), store, pair_sets[1])
