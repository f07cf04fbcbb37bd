"""The plain way to train: a loop of one's own over a `DataLoader`, as v5's users know it.

`train.py` is the fast way and gives the same steps. Shape letters: B pairs, L residues, P patches,
E embedding width.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import Dataset

from ppi_lib.encoder import Patches, pool_residues
from ppi_lib.errors import InputError
from ppi_lib.proteins import Pairs
from ppi_lib.store import PatchStore


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
    if label.min() == label.max():
        raise InputError(f"The loader's pairs are all labelled {label[0]:.0f}; expected both 0 and 1.")
    return EpochResult(sum(losses) / len(label), roc_auc_score(label, score), average_precision_score(label, score))


def train_epoch(
    model: nn.Module,
    loader,
    optimizer: torch.optim.Optimizer,
    criterion: Callable[[Tensor, Tensor], Tensor],
    device,
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
