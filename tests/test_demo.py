"""The demo, of which the truth is known: the model finds the planted rule, and only that."""

from dataclasses import replace

import numpy as np
import pytest

from ppi_lib.datasets import load_dataset
from ppi_lib.embed import embed_proteins
from ppi_lib.evaluate import bootstrap_intervals
from ppi_lib.predict import predict_pairs
from ppi_lib.train import SETTINGS, train_checkpoint

SHORT = replace(SETTINGS["v3"], epochs=8)


@pytest.fixture(scope="module")
def demo():
    return load_dataset("demo")


@pytest.fixture(scope="module")
def demo_store(demo, tmp_path_factory):
    return embed_proteins(demo.proteins, tmp_path_factory.mktemp("demo"), progress=False)


def auroc_interval(demo, store, train, validation, out, config=None):
    checkpoint, _ = train_checkpoint(store, train, validation, size="v3", config=config, out=out, progress=False)
    test = demo.test
    probabilities = predict_pairs(checkpoint.model, store, test, progress=False).probabilities
    return bootstrap_intervals(test.labels, probabilities, test.a, test.b, checkpoint.threshold)["auroc"]


def permuted(pairs, seed):
    return replace(pairs, labels=np.random.default_rng(seed).permutation(pairs.labels))


def test_the_small_preset_finds_the_planted_sites(demo, demo_store, tmp_path):
    assert auroc_interval(demo, demo_store, demo.train, demo.validation, tmp_path).value > 0.9


def test_with_permuted_labels_it_finds_nothing(demo, demo_store, tmp_path):
    found = auroc_interval(demo, demo_store, permuted(demo.train, 0), permuted(demo.validation, 1), tmp_path, SHORT)
    assert found.low < 0.5 < found.high
