"""Models and encoders in and out of files.

A trained classifier is a folder with `model.safetensors`, an encoder one with `encoder.safetensors`. That one file
holds the weights and, as metadata, all else, so that the two can't come apart; a JSON file beside it repeats that for
people. Encoders of v5's first implementation (`.pth`) are read by `legacy.py`.

Every weight of a file is used, and every weight of the model is filled, or loading fails. No code in a file is run.
"""

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ppi_lib.calibrate import Calibration
from ppi_lib.encoder import PRESETS, MAEEncoder, ModelConfig, encoder_sizes
from ppi_lib.errors import InputError
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.legacy import read_legacy
from ppi_lib.model import PPIClassifier
from ppi_lib.store import PatchStore, StoreInfo

_SIZES = ("embedding_width", "width", "layers", "heads", "feedforward", "max_residues", "patch")


class Weights(NamedTuple):
    """What a safetensors file holds."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]
    """What `write_weights` was told of them; empty in a file from elsewhere."""


def write_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write weights, with `about` in the same file, in one step."""
    metadata = {"ppi_lib": json.dumps(about)}
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda target: save_file(whole, target, metadata=metadata))


def _write_copy(path: Path, about: Mapping[str, Any]) -> None:
    """Write what stands in a weights file's metadata to a JSON file beside it."""
    note = "For people. The weights file holds the same, and is what is read."
    write_atomically(path, lambda target: target.write_text(json.dumps({"note": note, **about}, indent=2)))


def read_weights(path: Path) -> Weights:
    """Read a safetensors file, whole or not at all."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file. Check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(json.loads((file.metadata() or {}).get("ppi_lib", "{}")))
            return Weights({name: file.get_tensor(name) for name in file.keys()}, about)  # noqa: SIM118
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}). Copy or train it again.") from error


def fill_weights(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy `tensors`, read from `path`, into the `expected` ones of a model (its state_dict): all to all, or none."""
    problems = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    problems += [f"{name} has no place in the model" for name in tensors.keys() - expected.keys()]
    for name in expected.keys() & tensors.keys():
        if tensors[name].shape != expected[name].shape:
            problems.append(f"{name} is {tuple(tensors[name].shape)}, expected {tuple(expected[name].shape)}")
        elif not tensors[name].isfinite().all():
            problems.append(f"{name} holds NaN or infinite values")
    if problems:
        raise InputError(
            f"{path}: {len(problems)} weights do not fit, {'; '.join(sorted(problems)[:5])}. "
            "Use the checkpoint with the configuration it was trained with."
        )
    for name, tensor in tensors.items():
        expected[name].copy_(tensor)


def _require_embedding(wanted: StoreInfo, store: PatchStore, reader: str) -> None:
    if store.info != wanted:
        raise InputError(
            f"{store.path}: embedded by {store.info}; {reader} reads {wanted}. Embed the proteins with that one."
        )


class Checkpoint(NamedTuple):
    """A trained classifier and what belongs to it."""

    model: PPIClassifier
    embedding: StoreInfo
    """The embedder whose patches the model reads."""
    threshold: float
    """Sigmoid of the logit from which a pair counts as interacting; fixed on the validation pairs."""
    provenance: dict[str, Any]
    """Where it comes from: data, settings, versions."""
    calibration: Calibration = Calibration()
    """From logits to probabilities; fitted on the validation pairs, but in checkpoints of older versions."""

    @property
    def called_from(self) -> float:
        """The threshold as a calibrated probability."""
        share = min(max(self.threshold, 1e-12), 1 - 1e-12)
        return float(self.calibration.probabilities([math.log(share / (1 - share))])[0])

    def require_store(self, store: PatchStore) -> None:
        """Raise `InputError` if `store` was made by another embedder than the model reads."""
        _require_embedding(self.embedding, store, "the model")


def save_model(model: PPIClassifier, folder: str | Path, **about: Any) -> None:
    """Write a classifier and what `about` says of it; adapters are folded in, and kept beside it as well."""
    from ppi_lib.lora import has_adapters, plain_state, save_lora

    folder = make_folder(folder)
    about = {"model": vars(model.config), **about}
    (folder / "adapters.safetensors").unlink(
        missing_ok=True
    )  # first: those of an older model never lie beside a new one
    write_weights(folder / "model.safetensors", plain_state(model), about)
    _write_copy(folder / "config.json", about)
    if has_adapters(model):
        save_lora(model, folder / "adapters.safetensors")


def load_model(folder: str | Path, *, device: str = "cpu") -> tuple[PPIClassifier, dict[str, Any]]:
    """Read a classifier, in eval mode, and what was said of it."""
    path = Path(folder) / "model.safetensors"
    if not path.is_file():
        raise InputError(f"{folder}: no trained model here ({path.name} is missing). Train one with `ppi train`.")
    tensors, about = read_weights(path)
    try:
        about = about or json.loads((path.parent / "config.json").read_text())  # as older versions wrote it
        model = PPIClassifier(ModelConfig(**about["model"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.parent / 'config.json'}: not a model's configuration ({error}).") from error
    fill_weights(model.state_dict(), tensors, path)
    return model.to(device).eval(), about


def save_checkpoint(checkpoint: Checkpoint, folder: str | Path) -> None:
    """Write a checkpoint; it replaces an older one in one step."""
    save_model(
        checkpoint.model,
        folder,
        embedding=checkpoint.embedding._asdict(),
        threshold=checkpoint.threshold,
        provenance=checkpoint.provenance,
        calibration=vars(checkpoint.calibration),
    )


def load_checkpoint(folder: str | Path, *, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote; the model is in eval mode."""
    model, about = load_model(folder, device=device)
    try:
        calibration = Calibration(**about.get("calibration", {}))
        embedding, threshold = StoreInfo(**about["embedding"]), float(about["threshold"])
        return Checkpoint(model, embedding, threshold, about["provenance"], calibration)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: a model without its embedder and threshold ({error}). `PPIClassifier.from_pretrained` loads "
            "the model alone."
        ) from error


class EncoderFile(NamedTuple):
    """An encoder as it lies in a file."""

    path: Path
    tensors: dict[str, Tensor]
    known: dict[str, Any]
    """Fields of `ModelConfig` that the file tells: all of them, or those that can be read from the weights."""
    embedding: StoreInfo | None
    """The embedder whose patches it was pretrained on, if the file says."""
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()
    """What of the file is not the encoder's."""

    def config(self, heads: int | None = None) -> ModelConfig:
        """See `ModelConfig.from_checkpoint`."""
        if heads is not None and self.known.get("heads", heads) != heads:
            raise InputError(f"{self.path}: trained with {self.known['heads']} heads; heads={heads} would change it.")
        given = self.known if heads is None else {**self.known, "heads": heads}
        alike = [p for p in PRESETS.values() if all(given[n] == getattr(p, n) for n in ("width", "layers"))]
        if "heads" not in given and not alike:
            raise InputError(
                f"{self.path}: the weights don't tell the number of heads, and {given['layers']} layers of width "
                f"{given['width']} are no preset's; pass heads=."
            )
        return replace([*alike, PRESETS["v5"]][0], **given)

    def adapt(self, config: ModelConfig) -> ModelConfig:
        """Return `config` with this encoder's activation, or raise `InputError` if its sizes are others."""
        wrong = [name for name in _SIZES if self.known.get(name, getattr(config, name)) != getattr(config, name)]
        if wrong:
            names = [name for name in _SIZES if name in wrong or (name == "heads" and name not in self.known)]
            sizes = [f"{n} {self.known.get(n, '(not in the file)')}, expected {getattr(config, n)}" for n in names]
            raise InputError(
                f"{self.path}: an encoder of other sizes than the model's: {'; '.join(sizes)}. Pretrain one of the "
                "model's sizes (`ppi pretrain`), build the model at the checkpoint's (another --size, or "
                "config=ModelConfig.from_checkpoint(path)), or go on without an encoder (mae_checkpoint_path=None)."
            )
        return replace(config, activation=self.known.get("activation", config.activation))

    def fill(self, encoder: MAEEncoder) -> None:
        """Copy the weights into an encoder of the same sizes."""
        fill_weights(encoder.state_dict(), self.tensors, self.path)
        encoder.patch_embedding.settled = True
        for note in self.notes:
            warnings.warn(f"{self.path}: {note}", stacklevel=3)

    def require_store(self, store: PatchStore, proteins: Iterable[str]) -> None:
        """Raise `InputError` if `store` holds other embeddings than the encoder was pretrained on.

        Their numbers are looked at too, on 200 of `proteins` (fewer than 20 can't tell): standardised as in the
        pretraining, they have a mean near 0 (other species: below 1) and a deviation near 1.
        """
        if self.embedding is not None:
            _require_embedding(self.embedding, store, "the encoder")
        elif self.known["embedding_width"] != store.info.width:
            raise InputError(
                f"{store.path}: embeddings are {store.info.width} wide; the encoder of {self.path} reads "
                f"{self.known['embedding_width']}. Embed the proteins with the embedder it was pretrained on."
            )
        mean, scale = (self.tensors[f"patch_embedding.input_{name}"] for name in ("mean", "scale"))
        sample = list(islice(proteins, 200))
        if len(sample) < 20 or not mean.any():
            return
        found_mean, found_deviation = store.moments(sample)
        shift = ((found_mean - mean) * scale).square().mean().sqrt().item()
        deviation = (found_deviation * scale).square().mean().sqrt().item()
        if shift > 2 or not 0.25 < deviation < 4:
            raise InputError(
                f"{store.path}: standardised as {self.path} says, its embeddings have mean {shift:.2g} and deviation "
                f"{deviation:.2g}; expected about 0 and 1. Scale them as in the pretraining, or pretrain on these."
            )


def save_encoder(
    encoder: MAEEncoder, path: str | Path, embedding: StoreInfo, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write an encoder to a `.safetensors` file, or to `encoder.safetensors` in a folder."""
    from ppi_lib.lora import plain_state

    path = Path(path)
    path = path if path.suffix == ".safetensors" else make_folder(path) / "encoder.safetensors"
    about = {"model": vars(encoder.config), "embedding": embedding._asdict(), "provenance": dict(provenance or {})}
    write_weights(path, plain_state(encoder), about)
    _write_copy(path.with_suffix(".json"), about)


def read_encoder(path: str | Path) -> EncoderFile:
    """Read a pretrained encoder: what `save_encoder` wrote, bare safetensors, or an old `.pth` file."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder. Make an encoder with `ppi pretrain`.")
    if path.suffix in (".pth", ".pt"):
        tensors, notes = read_legacy(path)
        return EncoderFile(path, tensors, {**encoder_sizes(tensors), "activation": "relu"}, None, {}, notes)
    if path.is_dir():
        path /= "encoder.safetensors"
        if not path.is_file():
            raise InputError(f"{path.parent}: no encoder here ({path.name} is missing). Make one with `ppi pretrain`.")
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: ends with {path.suffix!r}; expected a folder, .safetensors, .pth or .pt.")
    tensors, about = read_weights(path)
    try:
        known = vars(ModelConfig(**about["model"])) if about else encoder_sizes(tensors)
        if "patch_embedding.input_mean" not in tensors:
            raise KeyError(f"no patch_embedding.input_mean among {', '.join(list(tensors)[:2])} ...")
        embedding = StoreInfo(**about["embedding"]) if about else None
        return EncoderFile(path, tensors, known, embedding, about.get("provenance", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not an encoder ({error}). Make one with `ppi pretrain`.") from error


def create_ppi_classifier(
    mae_checkpoint_path: str | Path | None = None,
    freeze_encoder: bool = True,
    use_lora: bool = False,
    *,
    config: ModelConfig = PRESETS["v5"],
    seed: int = 0,
) -> PPIClassifier:
    """Build a classifier with weights that `seed` fixes.

    With `mae_checkpoint_path` (see `read_encoder`) the encoder's weights are read from there, all of them, or it fails;
    the file says which activation they were trained with. A frozen encoder's parameters need no gradient. `use_lora`,
    with `freeze_encoder=False`, trains low-rank adapters in their place (`lora.py`; rank 4, alpha 16).
    """
    if use_lora and freeze_encoder:
        raise InputError(
            "use_lora=True and freeze_encoder=True ask for two things: an encoder that learns, by adapters, and one "
            "that doesn't. For adapters pass use_lora=True, freeze_encoder=False."
        )
    file = None if mae_checkpoint_path is None else read_encoder(mae_checkpoint_path)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PPIClassifier(config if file is None else file.adapt(config))
    if file is not None:
        file.fill(model.encoder)
    model.encoder.requires_grad_(not freeze_encoder)
    if use_lora:
        from ppi_lib.lora import add_lora

        add_lora(model, seed=seed)
    return model
