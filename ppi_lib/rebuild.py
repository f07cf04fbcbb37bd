"""How well a masked autoencoder rebuilds hidden patches, beside what is trivially possible.

Shape letters: B proteins, P patches, R patches of a table, M hidden ones of a batch, E embedding width.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ppi_lib.errors import InputError
from ppi_lib.masked import MaskedAutoencoder
from ppi_lib.patches import PatchBatch, PatchTable, draw_masks
from ppi_lib.settings import resolve_precision
from ppi_lib.store import PatchStore

_BATCH = 64


class Rebuilt(NamedTuple):
    """One protein's patches in standardised units."""

    target: Float[Tensor, "P E"]
    rebuilt: Float[Tensor, "P E"]
    masked: Bool[Tensor, " P"]
    """True: hidden, and rebuilt from the others."""


def rebuild(
    model: MaskedAutoencoder, store: PatchStore, protein: str, *, mask_ratio: float = 0.75, seed: int = 0
) -> Rebuilt:
    """Hide patches of one protein and rebuild them."""
    table = PatchTable(store, [protein])
    if len(table.rows) < 2:
        raise InputError(f"{protein} is one patch; expected two or more, one to see and one to hide. Choose another.")
    device = model.target_mean.device
    batch = table.gather(torch.tensor([0]), draw_masks(table.counts, mask_ratio, seed, epoch=0))
    values, lengths, masked = (tensor.to(device) for tensor in batch)
    with torch.no_grad():
        rebuilt = model(values, lengths, masked)
    return Rebuilt(model.target(values)[0].cpu(), rebuilt[0].cpu(), masked[0].cpu())


def infill_patches(model: MaskedAutoencoder, store: PatchStore, protein: str) -> Float[Tensor, "P E"]:
    """Return what each patch of a protein would be by the other ones: hidden and rebuilt, one at a time.

    As the baseline of an attribution it asks what a patch has that its surroundings do not tell.
    """
    table = PatchTable(store, [protein])
    if len(table.rows) < 2:
        raise InputError(f"{protein} is one patch; expected two or more, so that one can be told from the others.")
    device, count = model.target_mean.device, len(table.rows)
    values, lengths, _ = table.gather(torch.tensor([0]))
    rebuilt = torch.empty(count, values.shape[-1])
    with torch.no_grad():
        for hidden in torch.arange(count).split(_BATCH):
            masked = torch.nn.functional.one_hot(hidden, count).bool()
            inputs = values.expand(len(hidden), -1, -1), lengths.expand(len(hidden)), masked
            rebuilt[hidden] = model(*(tensor.to(device) for tensor in inputs))[masked.to(device)].float().cpu()
    return rebuilt * model.target_deviation.cpu() + model.target_mean.cpu()


def _sums(model: MaskedAutoencoder, batch: PatchBatch, visible: Bool[Tensor, "B P"]) -> Float[Tensor, "4 E"]:
    """Sum over the hidden patches: the model's error squared, the patch squared, the visible mean squared, and the
    product of patch and visible mean.

    The last three give the errors of the global mean, of the visible mean and of the best multiple of it.
    """
    target = model.target(batch.values)
    mean = (target * visible[..., None]).sum(dim=1) / visible.sum(dim=1)[:, None]
    hidden, mean = target[batch.masked], mean[:, None].expand_as(target)[batch.masked]
    error = model(*batch)[batch.masked].float() - hidden
    return torch.stack(
        [(a * b).double().sum(dim=0) for a, b in ((error, error), (hidden, hidden), (mean, mean), (hidden, mean))]
    )


def channel_errors(
    model: MaskedAutoencoder, table: PatchTable, masked: Bool[Tensor, " R"], *, precision: str = "auto"
) -> pd.DataFrame:
    """Return the mean squared error of each channel over the hidden patches, in standardised units.

    Columns: `model`; `visible_mean`, the mean of the protein's visible patches; `scaled_mean`, the multiple of it that,
    with hindsight, is best for the channel; `global_mean`, the mean of the training proteins' patches.
    """
    device = model.target_mean.device
    dtype = resolve_precision(precision, device)
    sums = torch.zeros(4, table.rows.shape[1], dtype=torch.float64, device=device)
    with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for places in torch.argsort(table.counts, stable=True).split(_BATCH):
            batch = table.gather(places, masked)
            real = torch.arange(batch.values.shape[1]) < table.counts[places, None]
            visible = (real & ~batch.masked).to(device)
            sums += _sums(model, PatchBatch(*(tensor.to(device) for tensor in batch)), visible)
    error, patch, mean, product = (sums / masked.sum().item()).cpu().numpy()
    return pd.DataFrame(
        {
            "model": error,
            "visible_mean": patch - 2 * product + mean,
            "scaled_mean": patch - product**2 / mean.clip(1e-12),
            "global_mean": patch,
        }
    )


def reconstruction_table(
    model: MaskedAutoencoder,
    table: PatchTable,
    masked: Bool[Tensor, " R"],
    *,
    groups: Mapping[str, slice] | None = None,
    precision: str = "auto",
) -> pd.DataFrame:
    """Return the errors of `channel_errors` by group of channels, each channel counted alike.

    `weight` is the group's share of the loss. The last row, `weighted`, is over all channels as the loss counts them.
    """
    errors = channel_errors(model, table, masked, precision=precision)
    weight = model.target_weight.cpu().double().numpy()
    rows = []
    for name, channels in (groups or {"all": slice(None)}).items():
        means = errors[channels].mean()
        rows.append({"group": name, "channels": len(errors[channels]), "weight": weight[channels].sum(), **means})
    weighted = errors.mul(weight, axis=0).sum()
    rows.append({"group": "weighted", "channels": int((weight > 0).sum()), "weight": 1.0, **weighted})
    return pd.DataFrame(rows)
