"""Training the classifier, in three ways of using the encoder.

`frozen`: every protein is encoded once and the pairs are read from its tokens. `lora`: low-rank adapters on the
encoder's queries and values train too. `full`: all of the encoder does. `plain.py` has the plain way, for a loop of
one's own.
"""

import hashlib
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from ppi_lib import __version__
from ppi_lib.calibrate import Calibration, calibrate_if_possible
from ppi_lib.checkpoint import Checkpoint, create_ppi_classifier, load_checkpoint, read_encoder, save_checkpoint
from ppi_lib.encoder import PRESETS
from ppi_lib.errors import InputError
from ppi_lib.evaluate import best_threshold
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.loop import Callback, fit, read_state
from ppi_lib.model import PPIClassifier
from ppi_lib.pair_task import PairTask
from ppi_lib.parallel import team
from ppi_lib.predict import predict_pairs
from ppi_lib.proteins import Pairs, check_classes
from ppi_lib.settings import LoopConfig, resolve_precision
from ppi_lib.store import PatchStore
from ppi_lib.tokens import encode_proteins, encoder_fingerprint, require_store

MONITORS = ("validation_auprc", "validation_auroc", "validation_loss")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LoopConfig):
    batch_size: int = 2048
    """Pairs of one optimiser step."""
    micro_batch: int = 2048
    """Pairs worked on at once; pairs of like length go together."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("batch_size", "micro_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.monitor not in MONITORS:
            raise InputError(f"monitor is {self.monitor!r}; expected one of {', '.join(MONITORS)}.")


SETTINGS = {
    "v5": TrainConfig(learning_rate=3e-4, epochs=3),
    "v3": TrainConfig(learning_rate=1e-3, epochs=15, batch_size=128, micro_batch=128),
}
"""What suits each preset: `v5` chosen on the validation split of bernett, `v3` on that of demo."""
_EPOCH_STEPS, _ALL_STEPS, _SMALLEST_BATCH = 80, 240, 32
"""About the steps of an epoch, and the fewest of a training, as on bernett; the smallest batch that is chosen."""
TRANSFERS = ("frozen", "lora", "full")


def suited(size: str, transfer: str = "frozen", pairs: int | None = None) -> TrainConfig:
    """Return the settings of a preset for `pairs` training pairs (none: as many as it was chosen on).

    A small table is learned in smaller batches and, if need be, more epochs (`benchmarks/small_tables.py`). An encoder
    that learns takes smaller batches and, trained whole, small steps.
    """
    config = SETTINGS[size]
    if transfer != "frozen":
        batch = min(config.batch_size, 128)
        rate = config.learning_rate / (10 if transfer == "full" else 1)
        config = replace(config, batch_size=batch, micro_batch=batch, learning_rate=rate)
    if pairs is None:
        return config
    wanted = 2 ** round(math.log2(max(pairs, 1) / _EPOCH_STEPS))
    batch = min(config.batch_size, max(_SMALLEST_BATCH, wanted))
    steps = -(-pairs // batch)
    return replace(config, batch_size=batch, epochs=max(config.epochs, -(-_ALL_STEPS // max(steps, 1))))


class TrainResult(NamedTuple):
    history: pd.DataFrame
    """One row an epoch."""
    best_epoch: int
    """The epoch whose weights the model has now."""
    stopped: str
    """Why the training ended: `epochs`, `patience` or `callback`."""
    threshold: float
    """Sigmoid of the logit with the highest MCC on the validation pairs."""
    calibration: Calibration
    """From logits to probabilities, fitted on the validation pairs; none if they are too few."""


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Return how many parameters there are, and how many of them train."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)


def standardise_input(model: PPIClassifier, store: PatchStore, proteins: Sequence[str]) -> None:
    """Let the encoder standardise its input by the patches of `proteins`, unless it already does."""
    embedding = model.encoder.patch_embedding
    if not embedding.standardises:
        embedding.set_standardisation(*store.moments(proteins))


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
    """Train what of `model` requires gradients, in place; it ends with the weights of the best epoch.

    A frozen encoder encodes every protein once; one that learns encodes every protein of a micro-batch once. With
    `out` (a folder) the state is kept there after each epoch; started again with the same arguments the training goes
    on from it and ends with the same weights as if it had never stopped.
    """
    for pairs, name in ((train, "training"), (validation, "validation")):
        check_classes(pairs, name)
    require_store(model.config, store, [*train.proteins, *validation.proteins])
    folder, progress = None if out is None else make_folder(out), progress and team().main
    team().share_weights(model)
    standardise_input(model, store, train.proteins)
    identity = _identity(model, store, train, validation)
    state_path = folder and folder / "training.pt"
    if state_path and state_path.exists():
        read_state(state_path, config, identity)
    if progress:
        total, trained = parameter_counts(model)
        steps = -(-len(train) // config.batch_size)
        tqdm.write(
            f"{trained:,} of {total:,} parameters train, for at most {config.epochs} epochs of {steps:,} steps of "
            f"{min(config.batch_size, len(train)):,} pairs."
        )
    table, cache = None, folder and folder / "tokens.safetensors"
    if not any(p.requires_grad for p in model.encoder.parameters()):
        proteins = [*train.proteins, *validation.proteins]
        dtype = resolve_precision(config.precision, model.encoder.cls_token.device)
        with team().first() if cache else nullcontext():
            table = encode_proteins(model, store, proteins, dtype=dtype, cache=cache, progress=progress)
    task = PairTask(model, store, train, validation, config, table).task
    result = fit(model, task, config, state_path=state_path, identity=identity, callbacks=callbacks)
    prediction = predict_pairs(model, store, validation, progress=progress)
    threshold = best_threshold(validation.labels, prediction.probabilities)
    return TrainResult(*result, threshold, calibrate_if_possible(validation.labels, prediction.logits))


def _build(size: str, transfer: str, encoder: str | Path | None, store: PatchStore, train: Pairs, seed: int):
    """Build the preset `size`, around a pretrained encoder if one is given."""
    if size not in PRESETS:
        raise InputError(f"size is {size!r}; expected one of {', '.join(PRESETS)}.")
    if transfer not in TRANSFERS:
        raise InputError(f"transfer is {transfer!r}; expected one of {', '.join(TRANSFERS)}.")
    if encoder is not None:
        read_encoder(encoder).require_store(store, train.proteins)
    return create_ppi_classifier(
        encoder,
        freeze_encoder=transfer == "frozen",
        use_lora=transfer == "lora",
        config=replace(PRESETS[size], embedding_width=store.info.width),
        seed=seed,
    )


def train_checkpoint(
    store: PatchStore,
    train: Pairs,
    validation: Pairs,
    *,
    size: str = "v5",
    transfer: str = "frozen",
    encoder: str | Path | None = None,
    config: TrainConfig | None = None,
    out: str | Path,
    provenance: dict[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> tuple[Checkpoint, TrainResult]:
    """Build the preset `size`, train it with `config` (or what suits it), and save it in `out`.

    `encoder` is what `pretrain_checkpoint` wrote, or another encoder's checkpoint; without it the encoder is random.
    `transfer` is one of `TRANSFERS`. Beside the checkpoint lie `history.csv` and the state that a run which was cut off
    goes on from.
    """
    seed = config.seed if config else 0
    model = team().place(_build(size, transfer, encoder, store, train, seed))
    config = config or suited(size, transfer, len(train))
    encoded_by = encoder and {"file": Path(encoder).name, "fingerprint": encoder_fingerprint(model.encoder)}
    result = train_classifier(model, store, train, validation, config, out=out, callbacks=callbacks, progress=progress)
    about = {
        **(provenance or {}),
        "size": size,
        "transfer": transfer,
        "encoder": encoder and {**encoded_by, **read_encoder(encoder).provenance},
        "training": vars(config),
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "trained_on": describe_training_data(store, train, validation),
        "versions": {"ppi_lib": __version__, "torch": torch.__version__},
    }
    checkpoint = Checkpoint(model.eval(), store.info, result.threshold, about, result.calibration)
    if team().main:
        save_checkpoint(checkpoint, out)
        write_atomically(Path(out) / "history.csv", lambda path: result.history.to_csv(path, index=False))
    team().wait()
    return checkpoint, result


class Found(NamedTuple):
    checkpoint: Checkpoint
    note: str
    """Whether it was there or was trained now, in a sentence."""


def find_or_train(
    store: PatchStore, train: Pairs, validation: Pairs, *, size: str, out: str | Path, **options
) -> Found:
    """Return the checkpoint in `out` if it was trained on this very data, or train one there if there is none.

    `options` are those of `train_checkpoint`. Raises `InputError` for a checkpoint of another size or other data, or of
    another transfer or other settings than those given: it is somebody's result, and never overwritten.
    """
    if not (Path(out) / "config.json").exists():
        checkpoint, result = train_checkpoint(store, train, validation, size=size, out=out, **options)
        return Found(checkpoint, f"Trained here ({size}, best epoch {result.best_epoch}) and kept in {out}.")
    checkpoint = load_checkpoint(out)
    about = checkpoint.provenance
    if about.get("size") != size:
        raise InputError(
            f"{out}: holds a checkpoint of size {about.get('size')!r}; expected {size!r}. Choose that or another out."
        )
    asked = {name: options[name] for name in ("transfer",) if name in options}
    asked |= {} if options.get("config") is None else {"training": vars(options["config"])}
    other = [name for name, value in asked.items() if about.get(name) != value]
    if other:
        raise InputError(
            f"{out}: holds a checkpoint with {other[0]} {about.get(other[0])}; asked for {asked[other[0]]}. Choose "
            "another out."
        )
    if about.get("trained_on") != describe_training_data(store, train, validation):
        raise InputError(f"{out}: holds a checkpoint trained on other pairs or embeddings. Choose another out.")
    by_hand = ", stopped by hand" if about.get("stopped") == "callback" else ""
    return Found(
        checkpoint, f"Trained before ({size}, best epoch {about.get('best_epoch')}{by_hand}), read from {out}."
    )


def describe_training_data(store: PatchStore, *pair_sets: Pairs) -> str:
    """Return a digest of pairs, in their order, and of the embeddings of their proteins."""
    return _digest("", store, pair_sets)


def _digest(about: str, store: PatchStore, pair_sets: Sequence[Pairs]) -> str:
    digest = hashlib.sha256(about.encode())
    for pairs in pair_sets:
        digest.update(store.fingerprint(pairs.proteins).encode())
        digest.update("\n".join([*pairs.a, *pairs.b]).encode())
        digest.update(pairs.labels.tobytes())
    return digest.hexdigest()


def _identity(model: PPIClassifier, store: PatchStore, *pair_sets: Pairs) -> str:
    """Hash what a training depends on besides its settings."""
    return _digest(encoder_fingerprint(model), store, pair_sets)
