"""Training the classifier.

`train_classifier` is the fast way: with a frozen encoder every protein is encoded once and the pairs are
read from its tokens. `train_epoch` and `validate_epoch` are the plain way, for a loop of one's own over a
`DataLoader` with `collate_fn_v5`.

Shape letters: B pairs, L residues, P patches, E embedding width.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import Dataset

from ppi_lib.encoder import Patches, pool_residues
from ppi_lib.errors import InputError
from ppi_lib.evaluate import best_threshold
from ppi_lib.loop import Callback, LoopConfig, Task, fit, resolve_precision, shuffled_batches
from ppi_lib.model import PPIClassifier
from ppi_lib.proteins import Pairs
from ppi_lib.store import PatchStore
from ppi_lib.tokens import TokenTable, encode_proteins, encoder_fingerprint, score_pairs


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LoopConfig):
    batch_size: int = 1024
    """Pairs of one optimiser step."""
    micro_batch: int = 512
    """Pairs worked on at once; pairs of like length go together."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("batch_size", "micro_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1.")


class TrainResult(NamedTuple):
    history: pd.DataFrame
    """One row an epoch."""
    best_epoch: int
    """The epoch whose weights the model has now."""
    stopped: str
    """Why the training ended: `epochs`, `patience` or `callback`."""
    threshold: float
    """Probability with the highest MCC on the validation pairs."""


def check_labels(pairs: Pairs, name: str) -> None:
    """Raise `InputError` unless `pairs` are labelled and hold both classes."""
    if len(pairs) == 0:
        raise InputError(f"The {name} pairs are empty; expected pairs with labels 0 and 1.")
    if pairs.labels is None:
        raise InputError(f"The {name} pairs have no labels; expected a column of 0 and 1.")
    if pairs.labels.min() == pairs.labels.max():
        raise InputError(
            f"The {name} pairs are all labelled {int(pairs.labels[0])}; expected both 0 and 1. Add pairs of the other."
        )


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
        logits = self.model.score_tokens(*self.table.gather(self.a[rows], self.b[rows])).float()
        labels = self.labels[rows].to(logits.device)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels) * share

    def validation_logits(self) -> np.ndarray:
        return score_pairs(self.model, self.table, *self.validation, dtype=self.dtype)

    def validate(self) -> dict[str, float]:
        return _validation_row(self.validation_logits(), self.validation_labels)


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
        check_labels(pairs, name)
    if store.info.width != model.config.embedding_width:
        raise InputError(
            f"{store.path}: embeddings are {store.info.width} wide; the model reads {model.config.embedding_width}. "
            f"Build it with ModelConfig(embedding_width={store.info.width})."
        )
    folder = None if out is None else Path(out)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    standardise_input(model, store, train.proteins)
    device = model.encoder.cls_token.device
    table = encode_proteins(
        model,
        store,
        [*train.proteins, *validation.proteins],
        dtype=resolve_precision(config.precision, device),
        cache=folder and folder / "tokens.safetensors",
        progress=progress,
    )
    task = _FrozenTask(model, table, train, validation, config)
    identity = _identity(model, store, train, validation)
    state_path = folder and folder / "training.pt"
    result = fit(model, task.task, config, state_path=state_path, identity=identity, callbacks=callbacks)
    probabilities = 1 / (1 + np.exp(-task.validation_logits().astype(np.float64)))
    return TrainResult(*result, threshold=best_threshold(validation.labels, probabilities))


def _identity(model: PPIClassifier, store: PatchStore, *pair_sets: Pairs) -> str:
    """Hash what a training depends on besides its settings."""
    digest = hashlib.sha256(f"{encoder_fingerprint(model.encoder)} {store.fingerprint} {model.config}".encode())
    for pairs in pair_sets:
        digest.update("\n".join([*pairs.a, *pairs.b]).encode())
        digest.update(pairs.labels.tobytes())
    return digest.hexdigest()


class PairBatch(NamedTuple):
    """A batch of pairs for the plain way."""

    a: Patches
    b: Patches
    labels: Float[Tensor, " B"]


class PairDataset(Dataset):
    """Labelled pairs of a store, for a plain `DataLoader` with `collate_fn_v5`."""

    def __init__(self, store: PatchStore, pairs: Pairs):
        store.require(pairs.proteins)
        self.store, self.pairs = store, pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> tuple[Patches, Patches, float]:
        a, b = (Patches(*self.store.batch([side[row]])) for side in (self.pairs.a, self.pairs.b))
        return a, b, float(self.pairs.labels[row])


def collate_fn_v5(items: Sequence[tuple[Patches | Tensor, Patches | Tensor, float]]) -> PairBatch:
    """Pad pairs to a batch. A protein is a `Patches` of one, or its residue embeddings `(L, E)`, pooled here."""
    a, b, labels = zip(*items, strict=True)
    return PairBatch(_pad(a), _pad(b), torch.tensor(labels, dtype=torch.float32))


def _pad(proteins: Sequence[Patches | Tensor]) -> Patches:
    single = [p if isinstance(p, Patches) else pool_residues(torch.as_tensor(p)[None]) for p in proteins]
    values = nn.utils.rnn.pad_sequence([p.values[0] for p in single], batch_first=True)
    return Patches(values, torch.cat([p.lengths for p in single]))


class EpochResult(NamedTuple):
    loss: float
    """Mean over the pairs."""
    auroc: float
    auprc: float


def _run_epoch(model: nn.Module, loader, criterion, device, after: Callable[[Tensor], None]) -> EpochResult:
    losses, logits, labels = [], [], []
    for a, b, label in loader:
        a, b = (Patches(*(tensor.to(device) for tensor in protein)) for protein in (a, b))
        output = model(a, b)
        loss = criterion(output, label.to(device))
        after(loss)
        losses.append(loss.item() * len(label))
        logits.append(output.detach().float().cpu())
        labels.append(label)
    label, score = torch.cat(labels).numpy(), torch.cat(logits).numpy()
    return EpochResult(sum(losses) / len(label), roc_auc_score(label, score), average_precision_score(label, score))


def train_epoch(
    model: nn.Module, loader, optimizer: torch.optim.Optimizer, criterion: Callable[[Tensor, Tensor], Tensor], device
) -> EpochResult:
    """Train on every batch of `loader` once; `criterion` takes logits and labels `(B,)`."""
    model.train()

    def step(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _run_epoch(model, loader, criterion, device, step)


def validate_epoch(model: nn.Module, loader, criterion: Callable[[Tensor, Tensor], Tensor], device) -> EpochResult:
    """Score every batch of `loader` in eval mode, without gradients."""
    training = model.training
    model.eval()
    with torch.no_grad():
        result = _run_epoch(model, loader, criterion, device, lambda loss: None)
    model.train(training)
    return result
