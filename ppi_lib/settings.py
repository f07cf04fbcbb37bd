"""The settings of every training, and what two of them mean: the learning rate's course, and the precision."""

import math
from dataclasses import dataclass

import torch

from ppi_lib.errors import InputError
from ppi_lib.proteins import check_seed


def check_precision(precision: str) -> None:
    """Raise `InputError` for a precision that isn't known."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError(f"precision is {precision!r}; expected 'auto', 'float32' or 'bfloat16'.")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    epochs: int = 50
    """Most epochs."""
    learning_rate: float = 1e-4
    """Peak of the schedule."""
    schedule: str = "one-cycle"
    """`one-cycle` (Smith and Topin 2019), or `cosine`: up in a straight line, then down as a cosine."""
    warmup: float = 0.1
    """Share of the steps in which a `cosine` schedule goes up, 0 to below 1."""
    weight_decay: float = 0.01
    """AdamW's, decoupled."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    patience: int = 10
    """Epochs without a better `monitor` before the training stops."""
    monitor: str = "validation_auprc"
    """The history's column that decides the best epoch; columns that end in `loss` are to fall, others to rise."""
    precision: str = "auto"
    """`float32`, `bfloat16` (autocast), or `auto`: bfloat16 where the hardware multiplies it natively."""
    seed: int = 0
    """Of dropout, masks and the order of the data."""

    def __post_init__(self):
        for name in ("epochs", "learning_rate", "clip", "patience"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected a number above 0.")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay is {self.weight_decay}; expected 0 or more.")
        check_seed(self.seed)
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}; expected 0 or more and below 1.")
        if self.schedule not in ("one-cycle", "cosine"):
            raise InputError(f"schedule is {self.schedule!r}; expected 'one-cycle' or 'cosine'.")
        check_precision(self.precision)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Turn `auto` into the type that this device multiplies fastest without losing the training."""
    check_precision(precision)
    if precision == "auto":
        native = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        precision = "bfloat16" if native else "float32"
    return getattr(torch, precision)


def make_schedule(optimizer: torch.optim.Optimizer, config: LoopConfig, steps: int):
    """Return the learning rate's course over all `steps` of a training."""
    if config.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=config.learning_rate, total_steps=steps + 1)
    rise = int(config.warmup * steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
