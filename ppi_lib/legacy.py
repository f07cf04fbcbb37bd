"""Encoders as v5's first implementation saved them: `.pth` files of a masked autoencoder.

Such a file holds the weights themselves or, under `model_state_dict`, beside other things. A name may begin with
`mae.` and then `encoder.`, once or twice. The layers are torch's `nn.TransformerEncoderLayer`, pre-norm, with the
query, key and value projections in one matrix; they were trained with ReLU. `NAMES` says which names the other parts
may have; `decoder...` and `mask_token` belong to the autoencoder's other half and are set aside. Whatever else is in
the file, or isn't, fails by name.

A pickle can hold code: it is read by torch's reader of plain weights, which runs none.
"""

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from torch import Tensor

from ppi_lib.errors import InputError

_PROJECTIONS = ("patch_embed", "patch_embed.proj", "patch_embedding", "patch_proj", "input_proj", "input_projection")
_POSITIONS = ("pos_embed", "pos_embedding", "position_embedding", "positional_embedding")
_NORMS = ("norm", "final_norm", "encoder_norm")
NAMES = {
    "patch_embedding.weight": [f"{name}.weight" for name in _PROJECTIONS],
    "patch_embedding.bias": [f"{name}.bias" for name in _PROJECTIONS],
    "position": [*_POSITIONS, *(f"{name}.weight" for name in _POSITIONS)],
    "cls_token": ["cls_token"],
    "norm.weight": [f"{name}.weight" for name in _NORMS],
    "norm.bias": [f"{name}.bias" for name in _NORMS],
}
"""Our names for what is not in a layer, and those that it may have in the file."""
_PARTS = {
    "self_attn.out_proj": "attention.out_proj",
    "linear1": "feedforward.linear1",
    "linear2": "feedforward.linear2",
    "norm1": "norm1",
    "norm2": "norm2",
}
LAYER = {f"{old}.{kind}": [f"{new}.{kind}"] for old, new in _PARTS.items() for kind in ("weight", "bias")}
LAYER |= {
    f"self_attn.in_proj_{kind}": [f"attention.{letter}_proj.{kind}" for letter in "qkv"] for kind in ("weight", "bias")
}
"""The names in a layer of the file, and ours: one, or three that are stacked in this order."""


class LegacyEncoder(NamedTuple):
    tensors: dict[str, Tensor]
    """By our names. The standardisation is the identity: the old implementation had none."""
    notes: tuple[str, ...]
    """Which weights are the autoencoder's other half."""


def read_legacy(path: Path) -> LegacyEncoder:
    """Read an old checkpoint, or raise `InputError` that says which weights are missing or have no place."""
    weights = _load(path)
    short = {name: re.sub(r"^(mae\.)?(encoder\.){0,2}", "", name) for name in weights}
    decoder = [name for name in weights if short[name].startswith("decoder") or short[name] == "mask_token"]
    tensors, sources = {}, {}
    problems = []
    for name in sorted(weights.keys() - decoder):
        targets = _targets(short[name])
        if not targets:
            problems.append(f"{name} has no place in an encoder")
        elif targets[0] in sources:
            problems.append(f"{name} and {sources[targets[0]]} are the same weight")
        else:
            sources[targets[0]] = name
            tensors |= zip(targets, _pieces(weights[name], targets), strict=True)
    problems += _missing(tensors)
    if problems:
        raise InputError(
            f"{path}: not the encoder of v5's first implementation: {len(problems)} weights do not fit, "
            f"{'; '.join(sorted(problems)[:5])}. Its names are listed in ppi_lib.legacy; rename the weights to them."
        )
    width = tensors["patch_embedding.weight"].shape[-1]
    identity = {"patch_embedding.input_mean": torch.zeros(width), "patch_embedding.input_scale": torch.ones(1)}
    note = f"{len(decoder)} weights are left out, as the autoencoder's decoder, e.g. {', '.join(sorted(decoder)[:3])}."
    return LegacyEncoder(tensors | identity, (note,) if decoder else ())


def _load(path: Path) -> dict[str, Tensor]:
    """Read the named weights of a `.pth` file, nothing else, and run nothing."""
    expected = "expected weights by name, or a dict with them under model_state_dict"
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file. Check the path.") from error
    except UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it holds {found[1]}, which could run code" if found else "it holds more than weights"
        raise InputError(
            f"{path}: not opened, since {reason}; {expected}. Save the model's state_dict alone."
        ) from error
    except Exception as error:  # torch has no one exception for a damaged file
        raise InputError(f"{path}: not a whole checkpoint ({type(error).__name__}). Copy it again.") from error
    weights = content.get("model_state_dict", content) if isinstance(content, dict) else content
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"{path}: holds a {type(weights).__name__} of no weights; {expected}.")
    other = [str(name) for name, value in weights.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if other:
        raise InputError(f"{path}: {', '.join(other[:5])} are no weights; {expected}.")
    return weights


def _targets(name: str) -> list[str]:
    """Return our names for a weight; none if it has no place in an encoder."""
    layer = re.fullmatch(r"(layers\.\d+\.)(.+)", name)
    if layer:
        return [layer[1] + target for target in LAYER.get(layer[2], [])]
    return [target for target, names in NAMES.items() if name in names]


def _pieces(tensor: Tensor, targets: list[str]) -> list[Tensor]:
    """Cut a stacked matrix into as many pieces as it has names, and drop a learned vector's leading axes of one."""
    axes = {"position": 2, "cls_token": 1}.get(targets[0], tensor.ndim)
    while tensor.ndim > axes and len(tensor) == 1:
        tensor = tensor[0]
    return list(torch.atleast_1d(tensor).tensor_split(len(targets)))


def _missing(tensors: dict[str, Tensor]) -> list[str]:
    """Say what an encoder with the layers found still lacks, by the names of the file."""
    lacking = [f"{' or '.join(names[:3])} is missing" for target, names in NAMES.items() if target not in tensors]
    found = {int(name.split(".")[1]) for name in tensors if name.startswith("layers.")} or {0}
    for i in sorted(found.union(range(len(found)))):
        lacking += [
            f"layers.{i}.{old} is missing" for old, new in LAYER.items() if f"layers.{i}.{new[0]}" not in tensors
        ]
    return lacking
