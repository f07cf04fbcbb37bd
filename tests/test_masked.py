import copy
import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from conftest import TINY

from ppi_lib.encoder import MAEEncoder
from ppi_lib.masked import MaskedAutoencoder, visible_columns
from ppi_lib.patches import PatchTable, describe_channels, draw_masks
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter

NARROW = dataclasses.replace(TINY, embedding_width=12)


def write_store(folder, patches: dict[str, np.ndarray]) -> PatchStore:
    """A store of given patches; the last patch of a protein is half full."""
    width = len(next(iter(patches.values()))[0])
    with StoreWriter(folder, StoreInfo("toy", "1", width)) as writer:
        for name, values in patches.items():
            writer.add(name, values, 32 * len(values) - 16, hashlib.sha256(name.encode()).hexdigest()[:16])
    return PatchStore(folder)


def wave_patches(count: int, seed: int) -> dict[str, np.ndarray]:
    """Proteins whose first eight channels are a wave along the protein, of a phase and a height of its own, which
    neighbours tell and the mean does not; two channels are noise, one is the protein's own, one is dead."""
    generator, patches = np.random.default_rng(seed), {}
    for number in range(count):
        place = np.arange(generator.integers(6, 13))[:, None]
        phase = generator.uniform(0, 2 * np.pi)
        wave = generator.uniform(1, 2) * np.sin(2 * np.pi * place / 6 + phase + np.arange(8) * np.pi / 4)
        noise = generator.normal(size=(len(place), 2))
        whole = np.full((len(place), 2), [generator.normal(), 0.0])
        patches[f"P{seed}_{number}"] = np.concatenate([wave, noise, whole], axis=1).astype(np.float32)
    return patches


@pytest.fixture(scope="module")
def waves(tmp_path_factory) -> PatchStore:
    return write_store(tmp_path_factory.mktemp("waves"), wave_patches(160, 0))


@pytest.fixture(scope="module")
def autoencoder() -> MaskedAutoencoder:
    torch.manual_seed(0)
    model = MaskedAutoencoder(MAEEncoder(NARROW), width=16)
    model.set_target(torch.zeros(12), torch.ones(12), torch.arange(12.0))
    return model


def test_the_loss_is_not_rounded_where_the_model_is(autoencoder):
    values, lengths, masked = batch(5, 9, 12)
    masked[:, ::2] = torch.arange(12)[::2] < torch.tensor([5, 9, 12])[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        loss = autoencoder.loss(values, lengths, masked, 1.0, 2.0)
        rebuilt = autoencoder(values, lengths, masked).double()
        told = summaries_told(autoencoder, values, lengths, masked)
    error = (rebuilt - autoencoder.target(values)).square()
    expected = (error[masked] * autoencoder.target_weight).sum()
    real = torch.arange(12) < torch.tensor([5, 9, 12])[:, None]
    for row in range(3):
        seen = (error[row][real[row] & ~masked[row]] * autoencoder.visible_channel_weight).sum(dim=1).mean()
        expected = expected + masked[row].sum() * (seen + 2 * told[row])
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_channel_that_never_varies_has_no_weight_among_the_visible(autoencoder):
    autoencoder = copy.deepcopy(autoencoder)
    autoencoder.set_target(torch.zeros(12), torch.tensor([0.0] * 6 + [1.0] * 5 + [2.0]), torch.ones(12))
    assert autoencoder.visible_channel_weight.tolist() == pytest.approx([0.0] * 6 + [1 / 9] * 5 + [4 / 9])


def batch(*counts: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random patches, lengths and masks of proteins of so many patches, padded with numbers that would be noticed."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.full((len(counts), max(counts), 12), 7.0)
    for row, count in zip(values, counts, strict=True):
        row[:count] = torch.randn(count, 12, generator=generator)
    masked = torch.zeros(len(counts), max(counts), dtype=torch.bool)
    hidden = draw_masks(torch.tensor(counts), 0.6, seed, 0).split(list(counts))
    for row, part in zip(masked, hidden, strict=True):
        row[: len(part)] = part
    return values, torch.tensor(counts) * 32 - 16, masked


def encoder(config=NARROW, seed: int = 0) -> MAEEncoder:
    torch.manual_seed(seed)
    return MAEEncoder(config)


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.75, 0.99])
def test_at_least_one_patch_is_hidden_and_one_is_seen(ratio):
    counts = torch.tensor([2, 3, 4, 20, 47])
    hidden = torch.stack([part.sum() for part in draw_masks(counts, ratio, 0, 1).split(counts.tolist())])
    assert (hidden >= 1).all()
    assert (hidden < counts).all()
    assert hidden[-1] == min(46, max(1, round(47 * ratio)))


def test_masks_are_of_the_seed_and_the_epoch_and_hide_each_patch_alike():
    counts = torch.full((400,), 8)
    masks = draw_masks(counts, 0.75, 0, 1)
    assert torch.equal(masks, draw_masks(counts, 0.75, 0, 1))
    assert not torch.equal(masks, draw_masks(counts, 0.75, 0, 2))
    assert not torch.equal(masks, draw_masks(counts, 0.75, 1, 1))
    assert masks.view(400, 8).float().mean(dim=0).sub(0.75).abs().max() < 0.1


def test_visible_patches_are_gathered_to_the_most_visible():
    visible = torch.tensor([[False, True, False, True], [False, False, True, False]])
    columns = visible_columns(visible)
    assert columns.index[0].tolist() == [1, 3]
    assert columns.index[1, 0] == 2
    assert columns.real.tolist() == [[True, True], [True, False]]


def test_the_encoder_runs_on_cls_and_visible_patches_only(autoencoder):
    values, lengths, masked = batch(10, 7)
    shapes = []
    hook = autoencoder.encoder.layers[0].register_forward_hook(lambda module, args, out: shapes.append(out.shape[1]))
    autoencoder(values, lengths, masked)
    hook.remove()
    visible = [10 - masked[0].sum(), 7 - masked[1].sum()]
    assert shapes == [1 + max(visible)]


def test_hidden_patches_never_reach_the_prediction(autoencoder):
    values, lengths, masked = batch(10, 7)
    before = autoencoder(values, lengths, masked)
    changed = torch.where(masked[..., None], 100.0, values)
    assert torch.equal(autoencoder(changed, lengths, masked), before)
    seen = values.clone()
    seen[0, int((~masked[0]).nonzero()[0])] += 1
    assert not torch.allclose(autoencoder(seen, lengths, masked)[0], before[0])
    assert torch.equal(autoencoder(seen, lengths, masked)[1], before[1])


def test_a_visible_patch_keeps_its_position_and_sees_the_visible_ones(autoencoder):
    """Gathering gives the tokens that the whole encoder gives when the hidden patches are masked as padding is."""
    values, lengths, masked = batch(10, 7)
    visible = (torch.arange(10) < torch.tensor([[10], [7]])) & ~masked
    columns = visible_columns(visible)
    found = autoencoder.encode_visible(values, lengths, columns)[:, 1:][columns.real]
    encoder = autoencoder.encoder
    expected = encoder.encode(encoder.embed(values, lengths), visible)[:, 1:][visible]
    assert torch.allclose(found, expected, atol=1e-6)


def test_each_hidden_place_is_rebuilt_in_its_own_way(autoencoder):
    values, lengths, masked = batch(10)
    rebuilt = autoencoder(values, lengths, masked)[0, masked[0]]
    assert (rebuilt[0] - rebuilt[1:]).abs().amax(dim=1).min() > 1e-3


@pytest.mark.parametrize("weights", [(), (2.0,), (0.0, 3.0)])
def test_padding_and_batch_mates_do_not_change_the_loss(autoencoder, weights):
    values, lengths, masked = batch(10, 3, 7)
    together = autoencoder.loss(values, lengths, masked, *weights)
    alone = [
        autoencoder.loss(values[i : i + 1, :count], lengths[i : i + 1], masked[i : i + 1, :count], *weights)
        for i, count in enumerate((10, 3, 7))
    ]
    assert together.item() == pytest.approx(sum(loss.item() for loss in alone), rel=1e-5)


def test_the_loss_is_over_hidden_real_patches_weighted_by_channel(autoencoder):
    values, lengths, masked = batch(6, 4)
    rebuilt = autoencoder(values, lengths, masked)
    expected = sum(
        ((rebuilt[i, j] - values[i, j]) ** 2 * torch.arange(12.0) / 66).sum() for i, j in masked.nonzero().tolist()
    )
    assert autoencoder.loss(values, lengths, masked).item() == pytest.approx(expected.item(), rel=1e-5)


def test_visible_patches_count_by_variance_and_as_often_as_hidden_ones(autoencoder):
    values, lengths, masked = batch(6, 4)
    autoencoder = copy.deepcopy(autoencoder)
    autoencoder.set_target(torch.zeros(12), torch.arange(1.0, 13), torch.arange(12.0))
    error = (autoencoder(values, lengths, masked) - values / torch.arange(1.0, 13)).square()
    loudness = torch.arange(1.0, 13).square() / torch.arange(1.0, 13).square().sum()
    expected = autoencoder.loss(values, lengths, masked).item()
    for protein, count in enumerate((6, 4)):
        visible = error[protein, :count][~masked[protein, :count]]
        expected += 3 * masked[protein].sum().item() * (visible @ loudness).mean().item()
    assert autoencoder.loss(values, lengths, masked, 3.0).item() == pytest.approx(expected, rel=1e-5)


def summaries_told(autoencoder, values, lengths, masked) -> torch.Tensor:
    """The error of what the mean visible token tells, protein by protein, as its definition has it."""
    errors = []
    for row, hidden, length in zip(values, masked, lengths, strict=True):
        count = -(-length // 32)
        columns = visible_columns(((torch.arange(len(row)) < count) & ~hidden)[None])
        tokens = autoencoder.encode_visible(row[None], length[None], columns)[0, 1:].float()
        patches = autoencoder.target(row[:count])
        truth = [patches.mean(dim=0), patches.std(dim=0, correction=0), patches.max(dim=0)[0], patches.min(dim=0)[0]]
        with torch.autocast("cpu", enabled=False):
            told = autoencoder.summary(tokens.mean(dim=0))
        errors.append((told - torch.cat(truth)).clamp(-8, 8).square().mean())
    return torch.stack(errors)


def test_the_mean_visible_token_tells_what_all_patches_are_like(autoencoder):
    values, lengths, masked = batch(6, 4)
    values[0, 0, 0] += 50  # further than counts
    masked[0, 0] = False
    autoencoder = copy.deepcopy(autoencoder)
    torch.nn.init.normal_(autoencoder.summary[1].weight, std=0.1)
    before = autoencoder.loss(values, lengths, masked).item()
    told = summaries_told(autoencoder, values, lengths, masked)
    expected = before + 3 * (masked.sum(dim=1) * told).sum().item()
    assert autoencoder.loss(values, lengths, masked, 0.0, 3.0).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_checkpointing_gives_the_same_gradients(autoencoder):
    values, lengths, masked = batch(10, 7)
    gradients = []
    for again in (False, True):
        autoencoder.encoder.gradient_checkpointing = again
        autoencoder.zero_grad()
        autoencoder.loss(values, lengths, masked, 1.0, 1.0).backward()
        gradients.append([p.grad.clone() for p in autoencoder.parameters()])
    autoencoder.encoder.gradient_checkpointing = False
    assert same(*gradients)
    assert max(g.abs().max() for g in gradients[0]) > 0


def test_channels_are_told_apart_by_what_can_be_predicted(waves):
    channels = describe_channels(PatchTable(waves, waves.ids))
    wave, noise, whole, dead = (channels.predictable[s] for s in (slice(0, 8), slice(8, 10), 10, 11))
    assert wave.min() > 0.3
    assert noise.max() < 0.1
    assert whole.abs() < 0.01
    assert dead == 0
    assert channels.between[10] > 0.99
    assert channels.between[:10].max() < 0.2


def test_the_moments_are_those_of_the_store(waves):
    channels, (mean, deviation) = describe_channels(PatchTable(waves, waves.ids)), waves.moments(waves.ids)
    assert torch.allclose(channels.mean, mean, atol=1e-6)
    assert torch.allclose(channels.deviation, deviation, atol=1e-6)


def test_a_table_holds_the_patches_of_the_store(store):
    table, ids = PatchTable(store, store.ids), store.ids
    places = torch.tensor([5, 0, 4])
    found, expected = table.gather(places, draw_masks(table.counts, 0.5, 0, 0)), store.batch([ids[i] for i in places])
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.lengths, expected.lengths)
    assert not found.masked[1].any()
