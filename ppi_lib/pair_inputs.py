"""The patches or tokens of a batch of pairs beside what stands for "nothing there": what an attribution reads.

A method asks what the logit owes to a patch. So it needs an answer to what the logit would be without it, and that
answer is the baseline that takes the patch's place: by default the mean patch of the same protein, which keeps what
is the same all along the protein (its composition, its length) and drops what only this patch has.

Shape letters: B pairs, P patches of A, Q patches of B, T = P + Q, L residues, W width of a patch or
token.
Masks: True = real, False = padding. Padding is zero in inputs and baselines alike, so no attribution can fall on it.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ppi_lib.encoder import Patches, patch_mask, pool_residues
from ppi_lib.errors import InputError
from ppi_lib.model import PPIClassifier, TokenPairs
from ppi_lib.store import PatchStore
from ppi_lib.tokens import TokenTable

BASELINES = ("protein", "training")
Pair = tuple[str, str]
Source = PatchStore | Mapping[str, np.ndarray | Tensor]
"""A store, or the residue embeddings `(L, E)` of each protein."""
Baseline = str | Mapping[str, np.ndarray | Tensor]
"""`protein`: the protein's own mean patch. `training`: the mean patch that the model standardises by. Or patches
`(P, E)` by protein, such as `rebuild.infill_patches` makes."""


class Coordinates(NamedTuple):
    """Where the patches of a pair lie: protein A's come first."""

    protein_a: str
    protein_b: str
    length_a: int
    length_b: int
    patch: int = 32

    @property
    def patches_a(self) -> int:
        return -(-self.length_a // self.patch)

    @property
    def patches_b(self) -> int:
        return -(-self.length_b // self.patch)

    def rows(self) -> list[tuple[str, str, int, int, int]]:
        """Return side, protein, patch, first and last residue of each patch; all count from 1, the last included."""
        sides = (("A", self.protein_a, self.length_a), ("B", self.protein_b, self.length_b))
        return [
            (side, protein, start // self.patch + 1, start + 1, min(start + self.patch, length))
            for side, protein, length in sides
            for start in range(0, length, self.patch)
        ]


class PairInputs(NamedTuple):
    """A batch of pairs, padded to its longest A and its longest B."""

    pairs: tuple[Pair, ...]
    a: Float[Tensor, "B P W"]
    b: Float[Tensor, "B Q W"]
    base_a: Float[Tensor, "B P W"]
    base_b: Float[Tensor, "B Q W"]
    lengths_a: Int[Tensor, " B"]
    lengths_b: Int[Tensor, " B"]
    real_a: Bool[Tensor, "B P"]
    real_b: Bool[Tensor, "B Q"]
    baseline: str | None
    """`protein`, `training` or `given`; None: there is none."""

    def take(self, rows: Bool[Tensor, " B"]) -> "PairInputs":
        """Return some of the pairs, at the same width."""
        pairs = tuple(pair for pair, taken in zip(self.pairs, rows.tolist(), strict=True) if taken)
        return PairInputs(pairs, *(tensor[rows] for tensor in self[1:-1]), self.baseline)

    @property
    def lengths(self) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"]]:
        return self.lengths_a, self.lengths_b

    @property
    def real(self) -> Bool[Tensor, "B T"]:
        return torch.cat([self.real_a, self.real_b], dim=1)


@contextmanager
def as_read(model: PPIClassifier) -> Iterator[PPIClassifier]:
    """Give the model in eval mode and float32, and put its mode back.

    Adapters stay in place: what they add is part of what is explained. Weights of half precision are copied to
    float32, since steps of an integral are too small for them, and a warning says so.
    """
    found = {p.dtype for p in model.parameters()} - {torch.float32}
    if found:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in found))
        warnings.warn(f"The model's weights are {names}; a float32 copy of them is explained.", stacklevel=4)
        model = deepcopy(model).float()
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield model
    finally:
        for module, mode in training.items():
            module.training = mode


class _Pooled:
    """Residue embeddings by protein, pooled; reads like a store."""

    def __init__(self, embeddings: Mapping[str, np.ndarray | Tensor], patch: int):
        self.embeddings, self.patch = embeddings, patch

    def require(self, proteins: Sequence[str]) -> None:
        missing = sorted({protein for protein in proteins if protein not in self.embeddings})
        if missing:
            raise InputError(
                f"embeddings hold nothing for {', '.join(missing[:5])}; expected residue embeddings of both proteins "
                "of a pair. Embed them too."
            )

    def length(self, protein: str) -> int:
        return len(self.embeddings[protein])

    def __getitem__(self, protein: str) -> Float[Tensor, "P W"]:
        residues = torch.as_tensor(self.embeddings[protein], dtype=torch.float32)
        return pool_residues(residues[None], patch=self.patch).values[0]


def open_source(model: PPIClassifier, source: Source, pairs: Sequence[Pair]) -> PatchStore | _Pooled:
    """Return what gives patches by protein; an `InputError` names what of `pairs` is not there or does not fit."""
    if not len(pairs):
        raise InputError("pairs are empty; expected at least one pair (protein_a, protein_b).")
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(protein, str) for protein in pair):
            raise InputError(f"pairs hold {pair!r}; expected two protein ids, such as ('P12345', 'Q67890').")
    opened = source if isinstance(source, PatchStore) else _Pooled(source, model.config.patch)
    proteins = sorted({protein for pair in pairs for protein in pair})
    opened.require(proteins)
    width = opened[proteins[0]].shape[-1]
    if width != model.config.embedding_width:
        raise InputError(
            f"The embeddings are {width} wide; this model reads {model.config.embedding_width}. Embed the proteins "
            "with the embedder that the model was trained on."
        )
    long = [protein for protein in proteins if not 1 <= opened.length(protein) <= model.config.max_residues]
    if long:
        raise InputError(
            f"{long[0]} has {opened.length(long[0])} residues; expected 1 to {model.config.max_residues}. Cut it."
        )
    return opened


def coordinates(model: PPIClassifier, source: PatchStore | _Pooled, pair: Pair) -> Coordinates:
    return Coordinates(*pair, *map(source.length, pair), model.config.patch)


def require_baseline(
    model: PPIClassifier, source: PatchStore | _Pooled, pairs: Sequence[Pair], baseline: Baseline | None
) -> None:
    """Raise `InputError` if `baseline` says nothing of one of the pairs."""
    proteins, patch = sorted({protein for pair in pairs for protein in pair}), model.config.patch
    if baseline is None:
        return
    if isinstance(baseline, str):
        if baseline not in BASELINES:
            raise InputError(f"baseline is {baseline!r}; expected {' or '.join(BASELINES)}, or patches by protein.")
        short = [protein for protein in proteins if source.length(protein) <= patch]
        if baseline == "protein" and short:
            raise InputError(
                f"{short[0]} is a single patch ({source.length(short[0])} residues), which is its own mean: nothing "
                "could be attributed to it. Use baseline='training'."
            )
        return
    missing = [protein for protein in proteins if protein not in baseline]
    if missing:
        raise InputError(f"baseline holds no patches of {missing[0]}; expected `(P, E)` for every protein explained.")
    for protein in proteins:
        expected = source[protein].shape
        if tuple(baseline[protein].shape) != tuple(expected):
            raise InputError(
                f"baseline of {protein} has shape {tuple(baseline[protein].shape)}; expected {tuple(expected)}, as "
                "its patches have."
            )


def _mean(values: Float[Tensor, "B P W"], real: Bool[Tensor, "B P"]) -> Float[Tensor, "B P W"]:
    """Put a protein's mean in the place of each of its patches."""
    mean = (values * real[..., None]).sum(dim=1, keepdim=True) / real.sum(dim=1)[:, None, None]
    return mean * real[..., None]


def read_patches(
    model: PPIClassifier, source: Source, pairs: Sequence[Pair], baseline: Baseline | None = "protein"
) -> PairInputs:
    """Read the patches of `pairs` and their baseline, on the model's device.

    What attributes to weights needs no baseline of the patches: with None it is zero."""
    opened = open_source(model, source, pairs)
    require_baseline(model, opened, pairs, baseline)
    device, training_mean = model.encoder.cls_token.device, model.encoder.patch_embedding.input_mean
    sides, bases, lengths, masks = [], [], [], []
    for side in zip(*pairs, strict=True):
        rows = {protein: torch.as_tensor(opened[protein], dtype=torch.float32) for protein in set(side)}
        values = pad_sequence([rows[protein] for protein in side], batch_first=True).to(device)
        length = torch.tensor([opened.length(protein) for protein in side], device=device)
        real = patch_mask(length, values.shape[1], model.config.patch)
        if baseline is None:
            base = torch.zeros_like(values)
        elif baseline == "protein":
            base = _mean(values, real)
        elif baseline == "training":
            base = training_mean * real[..., None]
        else:
            given = [torch.as_tensor(baseline[protein], dtype=torch.float32) for protein in side]
            base = pad_sequence(given, batch_first=True).to(device)
        for found, part in zip((sides, bases, lengths, masks), (values, base, length, real), strict=True):
            found.append(part)
    name = baseline if isinstance(baseline, str | None) else "given"
    return PairInputs(tuple(map(tuple, pairs)), *sides, *bases, *lengths, *masks, name)


def _encode(model: PPIClassifier, values, lengths, real) -> Float[Tensor, "B P D"]:
    return model.encoder(values, lengths)[:, 1:] * real[..., None]


def encode_inputs(model: PPIClassifier, x: PairInputs, table: TokenTable | None = None) -> PairInputs:
    """Return the tokens of patches that `read_patches` read; those of `table`, if given, are not computed again.

    The mean patch of a protein becomes the mean of its tokens; another baseline is encoded as if it were a protein.
    """
    sides, bases = [], []
    parts = ((x.a, x.base_a, x.lengths_a, x.real_a), (x.b, x.base_b, x.lengths_b, x.real_b))
    with torch.no_grad():
        for names, (values, base, lengths, real) in zip(zip(*x.pairs, strict=True), parts, strict=True):
            if table is None:
                tokens = _encode(model, values, lengths, real)
            else:
                spans = [(table.starts[place], table.counts[place]) for place in table.places(names)]
                rows = [table.rows[start : start + count].float() for start, count in spans]
                tokens = pad_sequence(rows, batch_first=True)
            sides.append(tokens)
            if x.baseline is None:
                bases.append(torch.zeros_like(tokens))
            else:
                bases.append(_mean(tokens, real) if x.baseline == "protein" else _encode(model, base, lengths, real))
    return x._replace(a=sides[0], b=sides[1], base_a=bases[0], base_b=bases[1])


def patch_logits(model: PPIClassifier):
    """Return the function from patches and lengths of both proteins to logits `(B,)`, through the encoder."""
    return lambda a, b, lengths_a, lengths_b: model(Patches(a, lengths_a), Patches(b, lengths_b))


def token_logits(model: PPIClassifier):
    """Return the function from tokens and lengths of both proteins to logits `(B,)`; the encoder is not run."""

    def logits(a, b, lengths_a, lengths_b):
        sides = ((a, lengths_a), (b, lengths_b))
        real = [patch_mask(length, tokens.shape[1], model.config.patch) for tokens, length in sides]
        return model.score_tokens([TokenPairs(torch.cat([a, b], dim=1), torch.cat(real, dim=1))])

    return logits


def batches_of_pairs(
    source: PatchStore | _Pooled, pairs: Sequence[Pair], patches: int, patch: int
) -> Iterator[np.ndarray]:
    """Yield the places of pairs of like length, about `patches` padded patches at a time."""
    counts = np.array([[-(-source.length(protein) // patch) for protein in pair] for pair in pairs])
    order = np.argsort(counts.sum(axis=1), kind="stable")
    while len(order):
        widest = np.maximum.accumulate(counts[order], axis=0).sum(axis=1) * np.arange(1, len(order) + 1)
        size = max(1, int(np.searchsorted(widest, patches, side="right")))
        yield order[:size]
        order = order[size:]
