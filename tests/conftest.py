"""What many tests share: a tiny model, a small store, and shape checks on every annotated function."""

from jaxtyping import install_import_hook

with install_import_hook("ppi_lib", "beartype.beartype"):
    import ppi_lib.assess
    import ppi_lib.checkpoint
    import ppi_lib.import_embeddings
    import ppi_lib.inventory
    import ppi_lib.language_model
    import ppi_lib.plain
    import ppi_lib.predict
    import ppi_lib.pretrain
    import ppi_lib.probe
    import ppi_lib.scorecard
    import ppi_lib.screen
    import ppi_lib.train
    import ppi_lib.truth  # noqa: F401

import numpy as np
import pytest
import torch
from xdist.scheduler import LoadFileScheduling

from ppi_lib.embed import embed_proteins
from ppi_lib.encoder import ModelConfig
from ppi_lib.proteins import STANDARD, Pairs, Proteins


class _ByFile(LoadFileScheduling):
    """With `-n` the tests of a file stay in one process, and so do all notebooks, which share a folder."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "notebooks" if file.endswith(".ipynb") else file


def pytest_xdist_make_scheduler(config, log):
    return _ByFile(config, log)


TINY = ModelConfig(width=32, layers=2, heads=4, feedforward=64, cross_heads=4, head_widths=(16, 8), embedding_width=960)


def random_sequence(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list(STANDARD), length))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Weights that a test draws are its own, whichever tests ran before it in the same process."""
    torch.manual_seed(0)


@pytest.fixture
def tiny() -> ModelConfig:
    return TINY


@pytest.fixture(scope="session")
def proteins() -> Proteins:
    """Forty proteins of 1 to 1,502 residues."""
    lengths = [1, 31, 32, 33, 64, 1502, *np.random.default_rng(1).integers(40, 400, 34)]
    return Proteins(sequences={f"P{i:02d}": random_sequence(n, i) for i, n in enumerate(lengths)}, notes=())


@pytest.fixture(scope="session")
def store(proteins, tmp_path_factory):
    return embed_proteins(proteins, tmp_path_factory.mktemp("store"), progress=False)


@pytest.fixture(scope="session")
def pair_sets(proteins) -> tuple[Pairs, Pairs]:
    """Training and validation pairs of disjoint proteins: two with more than 400 residues together interact."""

    def draw(ids, count, seed):
        generator = np.random.default_rng(seed)
        a, b = generator.choice(ids, count), generator.choice(ids, count)
        length = {p: len(proteins.sequences[p]) for p in ids}
        labels = np.array([length[x] + length[y] > 400 for x, y in zip(a, b, strict=True)], dtype=np.float32)
        return Pairs(a=a.astype(object), b=b.astype(object), labels=labels, notes=())

    ids = list(proteins.sequences)
    return draw(ids[:28], 160, 0), draw(ids[28:], 60, 1)


torch.set_num_threads(1)
