"""Low-rank adapters on the encoder's queries and values (Hu et al. 2021, arXiv:2106.09685), with peft.

An adapter adds `alpha / rank * B A` to a frozen matrix, with B zero at the start. The layers are put into the encoder
in place, so a model with adapters is a `PPIClassifier` still; `merge_lora` folds them into the weights and leaves the
plain model. `peft` takes seconds to import and is imported when adapters are asked for.
"""

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from ppi_lib.checkpoint import fill_weights, read_weights, write_weights
from ppi_lib.errors import InputError
from ppi_lib.model import PPIClassifier
from ppi_lib.tokens import encoder_fingerprint

TARGETS = ("q_proj", "v_proj")


def has_adapters(module: nn.Module) -> bool:
    """Say whether there are adapters in a model or an encoder."""
    return any(".lora_A." in name for name, _ in module.named_parameters())


def add_lora(
    model: PPIClassifier, rank: int = 4, alpha: float = 16, dropout: float = 0.0, *, seed: int = 0
) -> PPIClassifier:
    """Put adapters into the encoder, in place, and freeze all else of it; cross-attention and head stay as they are.

    The output does not change until the adapters are trained. `seed` fixes their start. Returns `model`.
    """
    if has_adapters(model):
        raise InputError("The model has adapters already. Fold them in with merge_lora(model) first.")
    if rank < 1 or alpha <= 0 or not 0 <= dropout < 1:
        raise InputError(
            f"rank={rank}, alpha={alpha}, dropout={dropout}; expected rank 1 or more, alpha above 0 and dropout from 0 "
            "to below 1."
        )
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(TARGETS))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model.encoder)
    return model


def merge_lora(model: PPIClassifier) -> PPIClassifier:
    """Fold the adapters into the encoder's weights, in place: a plain model with the same output. Returns `model`.

    The encoder stays frozen.
    """
    if not has_adapters(model):
        raise InputError("The model has no adapters; put them on with add_lora(model).")
    _take_out(model.encoder, merge=True)
    return model


def _take_out(encoder: nn.Module, *, merge: bool) -> nn.Module:
    """Put the plain layers back in the adapters' place, with what was learned or without."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(encoder.named_modules()):
        if isinstance(layer, LoraLayer):
            if merge:
                layer.merge()
            encoder.set_submodule(name, layer.get_base_layer())
    del encoder.peft_config
    return encoder


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model or an encoder by their plain names, adapters folded in; `module` stays as it is."""
    if not has_adapters(module):
        return module.state_dict()
    module = deepcopy(module)
    _take_out(getattr(module, "encoder", module), merge=True)
    return module.state_dict()


def save_lora(model: PPIClassifier, path: str | Path) -> None:
    """Write the adapters alone to a safetensors file, with the fingerprint of the encoder that they belong to."""
    if not has_adapters(model):
        raise InputError("The model has no adapters to save; put them on with add_lora(model).")
    config = model.encoder.peft_config["default"]
    about = {
        "rank": config.r,
        "alpha": config.lora_alpha,
        "dropout": config.lora_dropout,
        "encoder": encoder_fingerprint(_take_out(deepcopy(model.encoder), merge=False)),
    }
    write_weights(Path(path), _adapters(model), about)


def _adapters(model: PPIClassifier) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.encoder.state_dict().items() if ".lora_" in name}


def load_lora(model: PPIClassifier, path: str | Path) -> PPIClassifier:
    """Put adapters that `save_lora` wrote on a model with the encoder that they were trained on. Returns `model`."""
    tensors, about = read_weights(Path(path))
    if not {"rank", "alpha", "dropout", "encoder"} <= about.keys():
        raise InputError(f"{path}: no adapters. Write them with save_lora.")
    if has_adapters(model):
        raise InputError("The model has adapters already. Fold them in with merge_lora(model) first.")
    found = encoder_fingerprint(model.encoder)
    if found != about["encoder"]:
        raise InputError(
            f"{path}: made for the encoder {about['encoder']}; the model's is {found}. Build the model with the "
            "encoder checkpoint, and the standardisation, that the adapters were trained on."
        )
    add_lora(model, about["rank"], about["alpha"], about["dropout"])
    try:
        fill_weights(_adapters(model), tensors, Path(path))
    except InputError:
        _take_out(model.encoder, merge=False)
        raise
    return model
