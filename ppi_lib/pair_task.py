"""What a training of the classifier does in an epoch: its batches of pairs, their loss, and the validation.

With a frozen encoder the pairs are read from a table of tokens that was made once. Where the encoder learns too, every
protein of a batch is encoded once, however many pairs it stands in.

Shape letters: B pairs, N proteins.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from ppi_lib.loop import Task, shuffled_batches
from ppi_lib.model import PPIClassifier
from ppi_lib.parallel import team
from ppi_lib.patches import PatchTable
from ppi_lib.proteins import Pairs
from ppi_lib.settings import LoopConfig, resolve_precision
from ppi_lib.store import PatchStore
from ppi_lib.tokens import TokenTable, encode_proteins, encode_table, score_pairs


class _Places(NamedTuple):
    """Labelled pairs by the places of their proteins."""

    a: Int[Tensor, " B"]
    b: Int[Tensor, " B"]
    labels: Float[Tensor, " B"]


def _places(pairs: Pairs, proteins: dict[str, int]) -> _Places:
    a, b = (torch.tensor([proteins[p] for p in side]) for side in (pairs.a, pairs.b))
    return _Places(a, b, torch.from_numpy(pairs.labels).float())


class PairTask:
    """The pairs of a training and a validation set; `table` has the tokens of the frozen encoder, or is None."""

    def __init__(
        self,
        model: PPIClassifier,
        store: PatchStore,
        train: Pairs,
        validation: Pairs,
        config: LoopConfig,
        table: TokenTable | None,
    ):
        self.model, self.store, self.config, self.table = model, store, config, table
        proteins = list(dict.fromkeys([*train.proteins, *validation.proteins]))
        index = {protein: place for place, protein in enumerate(proteins)}
        self.train, self.validation = (_places(pairs, index) for pairs in (train, validation))
        self.patches = PatchTable(store, proteins) if table is None else None
        self.counts = (self.patches or table).counts
        self.device = model.encoder.cls_token.device
        self.dtype = resolve_precision(config.precision, self.device)

    @property
    def task(self) -> Task:
        steps = -(-len(self.train.labels) // self.config.batch_size)
        return Task(steps, self.batches, self.loss, self.validate, len(self.train.labels), "pairs")

    def batches(self, epoch: int) -> Iterator[list[tuple[Tensor, float]]]:
        """Yield micro-batches (rows and their share of the batch), each of pairs of like length."""
        tokens = self.counts[self.train.a] + self.counts[self.train.b]
        for rows in shuffled_batches(len(tokens), self.config.batch_size, self.config.seed, epoch):
            rows = rows[torch.argsort(tokens[rows], stable=True)]
            yield [(part, len(part) / len(rows)) for part in team().parts(rows, self.config.micro_batch)]

    def loss(self, micro_batch: tuple[Tensor, float]) -> Tensor:
        rows, share = micro_batch
        a, b = self.train.a[rows], self.train.b[rows]
        groups = self._encode(a, b) if self.table is None else self.table.gather(a, b)
        labels = self.train.labels[rows].to(self.device)
        logits = self.model.score_tokens(groups).float()
        return nn.functional.binary_cross_entropy_with_logits(logits, labels) * share

    def _encode(self, a: Int[Tensor, " B"], b: Int[Tensor, " B"]):
        """Encode each protein of the pairs once, and return the pairs' tokens."""
        places, inverse = torch.unique(torch.cat([a, b]), return_inverse=True)
        table = encode_table(self.model.encoder, self.patches, places)
        return table.gather(*inverse.split(len(a)))

    def validate(self) -> dict[str, float]:
        """Score the validation pairs, each process its share; an encoder that learns encodes their proteins anew."""
        labels = self.validation.labels
        logits, mine = torch.zeros(len(labels)), team().share(torch.arange(len(labels)))
        if len(mine):
            logits[mine] = torch.from_numpy(self._score(self.validation.a[mine], self.validation.b[mine]))
        return _validation_row(team().sum(logits).numpy(), labels)

    def _score(self, a: Int[Tensor, " B"], b: Int[Tensor, " B"]) -> Float[np.ndarray, " B"]:
        table = self.table
        if table is None:
            used, inverse = torch.unique(torch.cat([a, b]), return_inverse=True)
            proteins = [self.patches.proteins[place] for place in used]
            table = encode_proteins(self.model, self.store, proteins, dtype=self.dtype, progress=False)
            a, b = inverse.split(len(a))
        return score_pairs(self.model, table, a, b, dtype=self.dtype)


def _validation_row(logits: Float[np.ndarray, " B"], labels: Float[Tensor, " B"]) -> dict[str, float]:
    loss = nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), labels)
    return {
        "validation_loss": loss.item(),
        "validation_auroc": float(roc_auc_score(labels, logits)),
        "validation_auprc": float(average_precision_score(labels, logits)),
    }
