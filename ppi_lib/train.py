"""Training the classifier.

With a frozen encoder every protein is encoded once and the pairs are read from its tokens. `plain.py` has the
plain way, for a loop of one's own.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from ppi_lib import __version__
from ppi_lib.checkpoint import Checkpoint, create_ppi_classifier, save_checkpoint
from ppi_lib.encoder import PRESETS
from ppi_lib.errors import InputError
from ppi_lib.evaluate import best_threshold
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.loop import Callback, LoopConfig, Task, fit, read_state, resolve_precision, shuffled_batches
from ppi_lib.model import PPIClassifier
from ppi_lib.predict import predict_pairs
from ppi_lib.proteins import Pairs, check_classes
from ppi_lib.store import PatchStore
from ppi_lib.tokens import TokenTable, encode_proteins, encoder_fingerprint, score_pairs


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LoopConfig):
    batch_size: int = 1024
    """Pairs of one optimiser step."""
    micro_batch: int = 1024
    """Pairs worked on at once; pairs of like length go together."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("batch_size", "micro_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1.")


SETTINGS = {
    "v5": TrainConfig(learning_rate=2e-4, epochs=3),
    "v3": TrainConfig(learning_rate=1e-3, epochs=30, batch_size=128, micro_batch=128),
}
"""What suits each preset: `v5` chosen on the validation split of bernett, `v3` on that of demo."""


class TrainResult(NamedTuple):
    history: pd.DataFrame
    """One row an epoch."""
    best_epoch: int
    """The epoch whose weights the model has now."""
    stopped: str
    """Why the training ended: `epochs`, `patience` or `callback`."""
    threshold: float
    """Probability with the highest MCC on the validation pairs."""


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Return how many parameters there are, and how many of them train."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)


def standardise_input(model: PPIClassifier, store: PatchStore, proteins: Sequence[str]) -> None:
    """Let the encoder standardise its input by the patches of `proteins`, unless it already does."""
    embedding = model.encoder.patch_embedding
    if not embedding.standardises:
        embedding.set_standardisation(*store.moments(proteins))


class _FrozenTask:
    """The pairs of a training and a validation set, read from a table of tokens."""

    def __init__(self, model: PPIClassifier, table: TokenTable, train: Pairs, validation: Pairs, config: TrainConfig):
        self.model, self.table, self.config = model, table, config
        self.a, self.b = table.places(train.a), table.places(train.b)
        self.labels = torch.from_numpy(train.labels).float()
        self.validation = (table.places(validation.a), table.places(validation.b))
        self.validation_labels = validation.labels
        self.dtype = resolve_precision(config.precision, table.rows.device)

    @property
    def task(self) -> Task:
        steps = -(-len(self.labels) // self.config.batch_size)
        return Task(steps, self.batches, self.loss, self.validate)

    def batches(self, epoch: int) -> Iterator[list[tuple[Tensor, float]]]:
        """Yield micro-batches (rows and their share of the batch), each of pairs of like length."""
        tokens = self.table.counts[self.a] + self.table.counts[self.b]
        for rows in shuffled_batches(len(self.labels), self.config.batch_size, self.config.seed, epoch):
            rows = rows[torch.argsort(tokens[rows], stable=True)]
            yield [(part, len(part) / len(rows)) for part in rows.split(self.config.micro_batch)]

    def loss(self, micro_batch: tuple[Tensor, float]) -> Tensor:
        rows, share = micro_batch
        logits = self.model.score_tokens(self.table.gather(self.a[rows], self.b[rows])).float()
        labels = self.labels[rows].to(logits.device)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels) * share

    def validate(self) -> dict[str, float]:
        logits = score_pairs(self.model, self.table, *self.validation, dtype=self.dtype)
        return _validation_row(logits, self.validation_labels)


def _validation_row(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    loss = nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(labels).float())
    return {
        "validation_loss": loss.item(),
        "validation_auroc": float(roc_auc_score(labels, logits)),
        "validation_auprc": float(average_precision_score(labels, logits)),
    }


def train_classifier(
    model: PPIClassifier,
    store: PatchStore,
    train: Pairs,
    validation: Pairs,
    config: TrainConfig = TrainConfig(),
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> TrainResult:
    """Train `model`, whose encoder is frozen, in place; it ends with the weights of the best epoch.

    With `out` (a folder) the state is kept there after each epoch; started again with the same arguments the
    training goes on from it and ends with the same weights as if it had never stopped.
    """
    for pairs, name in ((train, "training"), (validation, "validation")):
        check_classes(pairs, name)
    if any(p.requires_grad for p in model.encoder.parameters()):
        raise InputError(
            "The encoder's parameters require gradients; expected a frozen encoder, as create_ppi_classifier makes it. "
            "To train it as well, use ppi_lib.plain."
        )
    if store.info.width != model.config.embedding_width:
        raise InputError(
            f"{store.path}: embeddings are {store.info.width} wide; the model reads {model.config.embedding_width}. "
            f"Build it with ModelConfig(embedding_width={store.info.width})."
        )
    folder = None if out is None else make_folder(out)
    standardise_input(model, store, train.proteins)
    identity = _identity(model, store, train, validation)
    state_path = folder and folder / "training.pt"
    if state_path and state_path.exists():
        read_state(state_path, config, identity)
    device = model.encoder.cls_token.device
    table = encode_proteins(
        model,
        store,
        [*train.proteins, *validation.proteins],
        dtype=resolve_precision(config.precision, device),
        cache=folder and folder / "tokens.safetensors",
        progress=progress,
    )
    task = _FrozenTask(model, table, train, validation, config).task
    result = fit(model, task, config, state_path=state_path, identity=identity, callbacks=callbacks)
    probabilities = predict_pairs(model, store, validation, progress=progress).probabilities
    return TrainResult(*result, threshold=best_threshold(validation.labels, probabilities))


def train_checkpoint(
    store: PatchStore,
    train: Pairs,
    validation: Pairs,
    *,
    size: str = "v5",
    config: TrainConfig | None = None,
    out: str | Path,
    provenance: dict[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> tuple[Checkpoint, TrainResult]:
    """Build the preset `size`, train it with `config` (or what suits it), and save it in `out`.

    Beside the checkpoint lie `history.csv` and the state that a run which was cut off goes on from.
    """
    if size not in PRESETS:
        raise InputError(f"size is {size!r}; expected one of {', '.join(PRESETS)}.")
    config = config or SETTINGS[size]
    model = create_ppi_classifier(config=replace(PRESETS[size], embedding_width=store.info.width), seed=config.seed)
    result = train_classifier(model, store, train, validation, config, out=out, callbacks=callbacks, progress=progress)
    versions = {"ppi_lib": __version__, "torch": torch.__version__}
    about = {
        **(provenance or {}),
        "size": size,
        "training": vars(config),
        "best_epoch": result.best_epoch,
        "store": store.fingerprint([*train.proteins, *validation.proteins]),
        "versions": versions,
    }
    checkpoint = Checkpoint(model.eval(), store.info, result.threshold, about)
    save_checkpoint(checkpoint, out)
    write_atomically(Path(out) / "history.csv", lambda path: result.history.to_csv(path, index=False))
    return checkpoint, result


def _identity(model: PPIClassifier, store: PatchStore, *pair_sets: Pairs) -> str:
    """Hash what a training depends on besides its settings."""
    digest = hashlib.sha256(f"{encoder_fingerprint(model.encoder)} {model.config}".encode())
    for pairs in pair_sets:
        digest.update(store.fingerprint(pairs.proteins).encode())
        digest.update("\n".join([*pairs.a, *pairs.b]).encode())
        digest.update(pairs.labels.tobytes())
    return digest.hexdigest()
