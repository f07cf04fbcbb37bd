"""Pretraining: the encoder learns from the patches of proteins, without any label.

It is trained as a masked autoencoder (`masked.py`): it reads some patches of a protein, and from their tokens the
hidden ones are rebuilt, weighted by how much of a channel can be told from its neighbours (`Channels.predictable`).
The visible ones are rebuilt as well, so that a token keeps its own patch: without it a frozen encoder served the pairs
of bernett's validation split far worse. And the mean visible token learns to tell what all patches of the protein are
like together, the hidden ones too, so that a mean token serves a linear model. `rebuild.py` says how well hidden
patches are rebuilt, beside what is trivially possible.

Shape letters: E embedding width.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ppi_lib import __version__
from ppi_lib.checkpoint import save_encoder
from ppi_lib.encoder import PRESETS, MAEEncoder
from ppi_lib.errors import InputError
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.loop import Callback, Task, fit, shuffled_batches
from ppi_lib.masked import MaskedAutoencoder
from ppi_lib.parallel import team
from ppi_lib.patches import PatchBatch, PatchTable, describe_channels, draw_masks
from ppi_lib.rebuild import reconstruction_table
from ppi_lib.settings import LoopConfig, resolve_precision
from ppi_lib.store import PatchStore
from ppi_lib.tokens import encoder_fingerprint, require_store


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(LoopConfig):
    epochs: int = 10
    schedule: str = "cosine"
    weight_decay: float = 0.05
    monitor: str = "validation_loss"
    mask_ratio: float = 0.75
    """Share of a protein's patches that are hidden, above 0 and below 1; at least one is hidden and one is seen."""
    visible_weight: float = 1.0
    """How much rebuilding a visible patch counts beside a hidden one; at 0 tokens may forget their own patch."""
    summary_weight: float = 30.0
    """How much it counts beside a hidden patch what the mean visible token tells of all patches of the protein."""
    batch_size: int = 64
    """Proteins of one optimiser step; those of like length go together."""
    micro_batch: int = 64
    """Proteins worked on at once."""
    decoder_width: int = 256
    """Width of a token in the decoder."""
    decoder_layers: int = 1
    """Transformer layers of the decoder."""
    decoder_heads: int = 4
    """Attention heads of a decoder layer."""
    gradient_checkpointing: bool = False
    """Compute the encoder's inner values again on the way back instead of keeping them: less memory, more time."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.mask_ratio < 1:
            raise InputError(f"mask_ratio is {self.mask_ratio}; expected above 0 and below 1.")
        for name in ("visible_weight", "summary_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        for name in ("batch_size", "micro_batch", "decoder_width", "decoder_layers", "decoder_heads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.decoder_width % self.decoder_heads:
            raise InputError(
                f"decoder_width is {self.decoder_width}, which decoder_heads={self.decoder_heads} does not divide; "
                "choose a multiple."
            )


SETTINGS = {
    "v5": PretrainConfig(learning_rate=3e-4, epochs=4),
    "v3": PretrainConfig(learning_rate=1e-3, batch_size=16, micro_batch=16, decoder_width=128),
}
"""What suits each preset: tried on the validation proteins of bernett."""
_HELD_OUT = 0.1


class PretrainResult(NamedTuple):
    history: pd.DataFrame
    """One row an epoch; `train_loss` is of all that is learned, `validation_loss` of hidden patches alone."""
    best_epoch: int
    """The epoch whose weights the encoder has now."""
    stopped: str
    """Why the training ended: `epochs`, `patience` or `callback`."""
    reconstruction: pd.DataFrame
    """Errors on the validation proteins, by group of channels: see `rebuild.reconstruction_table`."""
    autoencoder: MaskedAutoencoder
    """The encoder and the decoder."""
    notes: tuple[str, ...]
    """A sentence for each thing that was left out or drawn."""


class _MaskedTask:
    """The proteins of a training and a validation set, in memory."""

    def __init__(self, model: MaskedAutoencoder, train: PatchTable, validation: PatchTable, config: PretrainConfig):
        self.model, self.train, self.validation, self.config = model, train, validation, config
        self.device = model.target_mean.device
        self.validation_masks = draw_masks(validation.counts, config.mask_ratio, config.seed, epoch=0)

    @property
    def task(self) -> Task:
        steps = -(-len(self.train.counts) // self.config.batch_size)
        return Task(steps, self.batches, self.loss, self.validate, len(self.train.counts), "proteins")

    def batches(self, epoch: int) -> Iterator[list[tuple[PatchBatch, int]]]:
        """Yield the steps, each of proteins of like length: micro-batches, and how many patches are hidden in all."""
        config, counts = self.config, self.train.counts
        masks = draw_masks(counts, config.mask_ratio, config.seed, epoch)
        (order,) = shuffled_batches(len(counts), len(counts), config.seed, epoch)
        steps = order[torch.argsort(counts[order], stable=True)].split(config.batch_size)
        for number in shuffled_batches(len(steps), 1, config.seed, epoch):
            parts = [self.train.gather(part, masks) for part in team().parts(steps[number], config.micro_batch)]
            hidden = int(team().sum(torch.tensor(sum(int(part.masked.sum()) for part in parts))))
            yield [(part, hidden) for part in parts]

    def loss(self, micro_batch: tuple[PatchBatch, int]) -> Tensor:
        batch, hidden = micro_batch
        return self._sum(batch, self.config.visible_weight, self.config.summary_weight) / hidden

    def _sum(self, batch: PatchBatch, *weights: float) -> Tensor:
        return self.model.loss(*(tensor.to(self.device) for tensor in batch), *weights)

    def validate(self) -> dict[str, float]:
        """Return the mean error of the validation proteins' hidden patches; the masks are the same in every epoch."""
        dtype, total = resolve_precision(self.config.precision, self.device), 0.0
        order = torch.argsort(self.validation.counts, stable=True)
        with torch.no_grad(), torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            for places in team().parts(order, self.config.micro_batch):
                total += self._sum(self.validation.gather(places, self.validation_masks)).item()
        total = team().sum(torch.tensor(total, dtype=torch.float64)).item()
        return {"validation_loss": total / int(self.validation_masks.sum())}


class _Sets(NamedTuple):
    train: list[str]
    validation: list[str]
    notes: tuple[str, ...]


def _split(store: PatchStore, proteins: Iterable[str], validation: Iterable[str] | None, seed: int) -> _Sets:
    """Leave out what can't be masked, and draw validation proteins if none are given."""
    given, held_out = (list(dict.fromkeys(part)) for part in (proteins, () if validation is None else validation))
    store.require([*given, *held_out])
    both = set(given) & set(held_out)
    if both:
        raise InputError(
            f"{len(both)} proteins are for training and for validation, e.g. {min(both)}; expected each in one of them."
        )
    short, notes = [p for p in (*given, *held_out) if store.length(p) <= store.info.patch], []
    train, held_out = ([p for p in part if store.length(p) > store.info.patch] for part in (given, held_out))
    if short:
        notes.append(
            f"{len(short):,} proteins of one patch ({store.info.patch} residues or fewer), e.g. {short[0]}, left out: "
            "nothing of them is seen once it is hidden."
        )
    if validation is None and len(train) > 1:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).tolist()
        count = max(1, round(_HELD_OUT * len(train)))
        held_out, train = [train[i] for i in sorted(order[:count])], [train[i] for i in sorted(order[count:])]
        notes.append(f"No validation proteins given: {count:,}, drawn with seed {seed}, serve as such.")
    for name, part in (("training", train), ("validation", held_out)):
        if not part:
            raise InputError(
                f"{store.path}: no {name} protein of two patches or more is left; expected at least one for training "
                f"and one for validation. Give more proteins of more than {store.info.patch} residues."
            )
    return _Sets(train, held_out, tuple(notes))


def _build(encoder: MAEEncoder, table: PatchTable, weight: Tensor | None, config: PretrainConfig) -> MaskedAutoencoder:
    """Put a decoder behind the encoder, and measure what is rebuilt on the training proteins."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = MaskedAutoencoder(
            encoder, width=config.decoder_width, layers=config.decoder_layers, heads=config.decoder_heads
        ).to(encoder.cls_token.device)
    channels = describe_channels(table)
    if not encoder.patch_embedding.standardises:
        encoder.patch_embedding.set_standardisation(channels.mean, channels.deviation)
    weight = channels.predictable if weight is None else weight
    if not weight.sum() > 0:
        raise InputError(
            "No channel of the patches can be told from its neighbours; expected some. Pretrain on more proteins, or "
            "pass a weight for each channel."
        )
    model.set_target(channels.mean, channels.deviation, weight)
    return model


def pretrain_encoder(
    encoder: MAEEncoder,
    store: PatchStore,
    proteins: Iterable[str],
    validation: Iterable[str] | None = None,
    config: PretrainConfig = SETTINGS["v5"],
    *,
    weight: Float[Tensor, " E"] | None = None,
    groups: Mapping[str, slice] | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> PretrainResult:
    """Train `encoder` in place to rebuild hidden patches of `proteins`; it ends with the weights of the best epoch.

    Without `validation` proteins a tenth of `proteins` is drawn. `weight` is how much each channel counts, by default
    how much of it can be predicted. `groups` are the channels that the table of errors tells apart. With `out` (a
    folder) the state is kept there after each epoch and gone on from, as in `train_classifier`.
    """
    if not all(p.requires_grad for p in encoder.parameters()):
        raise InputError("The encoder is frozen; expected one that can learn. Call encoder.requires_grad_(True).")
    sets = _split(store, proteins, validation, config.seed)
    require_store(encoder.config, store, [*sets.train, *sets.validation])
    team().share_weights(encoder)
    identity = _identity(encoder, store, sets, weight)
    tables = [PatchTable(store, part) for part in sets[:2]]
    model = _build(encoder, tables[0], weight, config)
    state_path = None if out is None else make_folder(out) / "pretraining.pt"
    checkpointing, encoder.gradient_checkpointing = encoder.gradient_checkpointing, config.gradient_checkpointing
    try:
        task = _MaskedTask(model, *tables, config)
        fitted = fit(model, task.task, config, state_path=state_path, identity=identity, callbacks=callbacks)
    finally:
        encoder.gradient_checkpointing = checkpointing
    table = reconstruction_table(model, tables[1], task.validation_masks, groups=groups, precision=config.precision)
    return PretrainResult(*fitted, table, model, sets.notes)


def pretrain_checkpoint(
    store: PatchStore,
    proteins: Iterable[str],
    validation: Iterable[str] | None = None,
    *,
    size: str = "v5",
    config: PretrainConfig | None = None,
    groups: Mapping[str, slice] | None = None,
    out: str | Path,
    provenance: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> PretrainResult:
    """Build the encoder of the preset `size`, pretrain it with `config` (or what suits it), and save it in `out`.

    `create_ppi_classifier(mae_checkpoint_path=out)` reads it. Beside it lie `history.csv`, `reconstruction.csv` and the
    state that a run which was cut off goes on from.
    """
    if size not in PRESETS:
        raise InputError(f"size is {size!r}; expected one of {', '.join(PRESETS)}.")
    config = config or SETTINGS[size]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder = team().place(MAEEncoder(replace(PRESETS[size], embedding_width=store.info.width)))
    result = pretrain_encoder(encoder, store, proteins, validation, config, groups=groups, out=out, callbacks=callbacks)
    about = {
        **(provenance or {}),
        "size": size,
        "pretraining": vars(config),
        "best_epoch": result.best_epoch,
        "notes": result.notes,
        "versions": {"ppi_lib": __version__, "torch": torch.__version__},
    }
    if team().main:
        save_encoder(encoder, out, store.info, about)
        for name, table in (("history", result.history), ("reconstruction", result.reconstruction)):
            write_atomically(Path(out) / f"{name}.csv", lambda path, table=table: table.to_csv(path, index=False))
    team().wait()
    return result


def _identity(encoder: MAEEncoder, store: PatchStore, sets: _Sets, weight: Tensor | None) -> str:
    """Hash what a pretraining depends on besides its settings."""
    parts = [encoder_fingerprint(encoder), store.fingerprint(sets.train), store.fingerprint(sets.validation)]
    parts += [*sets.train, "", *sets.validation, str(None if weight is None else weight.tolist())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
