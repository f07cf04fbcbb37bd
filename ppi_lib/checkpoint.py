"""Models in and out of a folder: `model.safetensors`, the weights, and `config.json`, all else.

Every weight of the file is used, and every weight of the model is filled, or loading fails. Nothing is
unpickled.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ppi_lib.encoder import PRESETS, ModelConfig
from ppi_lib.errors import InputError
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.model import PPIClassifier
from ppi_lib.store import PatchStore, StoreInfo


class Checkpoint(NamedTuple):
    """A trained classifier and what belongs to it."""

    model: PPIClassifier
    embedding: StoreInfo
    """The embedder whose patches the model reads."""
    threshold: float
    """Probability from which a pair counts as interacting; fixed on the validation pairs."""
    provenance: dict[str, Any]
    """Where it comes from: data, settings, versions."""

    def require_store(self, store: PatchStore) -> None:
        """Raise `InputError` if `store` was made by another embedder than the model reads."""
        if store.info != self.embedding:
            raise InputError(
                f"{store.path}: embedded by {store.info.embedder} (version {store.info.version}, width "
                f"{store.info.width}); the model reads {self.embedding.embedder} (version {self.embedding.version}, "
                f"width {self.embedding.width}). Embed the proteins with that one."
            )


def save_checkpoint(checkpoint: Checkpoint, folder: str | Path) -> None:
    """Write a checkpoint; each of the two files is replaced in one step, the weights first."""
    folder = make_folder(folder)
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.model.state_dict().items()}
    write_atomically(folder / "model.safetensors", lambda path: save_file(tensors, path))
    content = {
        "model": vars(checkpoint.model.config),
        "embedding": checkpoint.embedding._asdict(),
        "threshold": checkpoint.threshold,
        "provenance": checkpoint.provenance,
    }
    write_atomically(folder / "config.json", lambda path: path.write_text(json.dumps(content, indent=2)))


def load_checkpoint(folder: str | Path, *, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote; the model is in eval mode."""
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no trained model here ({name} is missing). Train one with `ppi train`.")
    try:
        content = json.loads((folder / "config.json").read_text())
        config = ModelConfig(**content["model"])
        embedding, threshold = StoreInfo(**content["embedding"]), float(content["threshold"])
        provenance = content["provenance"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'}: not a model's configuration ({error}).") from error
    model = PPIClassifier(config)
    load_weights(model, folder / "model.safetensors")
    return Checkpoint(model.to(device).eval(), embedding, threshold, provenance)


def load_weights(module: torch.nn.Module, path: str | Path) -> None:
    """Fill every weight of `module` from a safetensors file that holds just these."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}). Copy or train it again.") from error
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    problems += [f"{name} has no place in the model" for name in tensors.keys() - expected.keys()]
    for name in expected.keys() & tensors.keys():
        if tensors[name].shape != expected[name].shape:
            problems.append(f"{name} is {tuple(tensors[name].shape)}, expected {tuple(expected[name].shape)}")
        elif not tensors[name].isfinite().all():
            problems.append(f"{name} holds NaN or infinite values")
    if problems:
        raise InputError(
            f"{path}: {len(problems)} weights do not fit, e.g. {'; '.join(sorted(problems)[:3])}. "
            "Use the checkpoint with the configuration it was trained with."
        )
    module.load_state_dict(tensors)


def create_ppi_classifier(
    mae_checkpoint_path: str | Path | None = None,
    freeze_encoder: bool = True,
    use_lora: bool = False,
    *,
    config: ModelConfig = PRESETS["v5"],
    seed: int = 0,
) -> PPIClassifier:
    """Build a classifier with weights that `seed` fixes.

    With `mae_checkpoint_path` the encoder's weights are read from that safetensors file, all of them, or it
    fails. A frozen encoder's parameters need no gradient. `use_lora` puts low-rank adapters on the encoder's
    queries and values (Hu et al. 2021, arXiv:2106.09685; rank 4, alpha 16) and trains them in its place.
    """
    if use_lora:
        raise InputError("use_lora=True is not available yet; use freeze_encoder=True or freeze_encoder=False.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PPIClassifier(config)
    if mae_checkpoint_path is not None:
        load_weights(model.encoder, mae_checkpoint_path)
    model.encoder.requires_grad_(not freeze_encoder)
    return model
