import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from test_masked import encoder, same, wave_patches, write_store

from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import PRESETS
from ppi_lib.errors import InputError
from ppi_lib.loop import StopTraining, Task, fit
from ppi_lib.masked import MaskedAutoencoder, summarise_patches, visible_columns
from ppi_lib.patches import PatchTable, draw_masks
from ppi_lib.pretrain import PretrainConfig, pretrain_checkpoint, pretrain_encoder
from ppi_lib.rebuild import channel_errors, rebuild, reconstruction_table
from ppi_lib.settings import LoopConfig
from ppi_lib.store import PatchStore

CONFIG = PretrainConfig(
    epochs=3, learning_rate=3e-3, batch_size=8, micro_batch=4, decoder_width=16, precision="float32", patience=50
)


@pytest.fixture(scope="module")
def waves(tmp_path_factory) -> PatchStore:
    return write_store(tmp_path_factory.mktemp("waves"), wave_patches(160, 0))


@pytest.fixture(scope="module")
def autoencoder() -> MaskedAutoencoder:
    model = MaskedAutoencoder(encoder(), width=16)
    model.set_target(torch.zeros(12), torch.ones(12), torch.arange(12.0))
    return model


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def test_trivial_errors_are_what_they_say(autoencoder, waves):
    table = PatchTable(waves, waves.ids[:20])
    masked = draw_masks(table.counts, 0.5, 0, 0)
    errors = channel_errors(autoencoder, table, masked, precision="float32")
    by_hand = {"model": 0, "visible_mean": 0, "global_mean": 0}
    for i in range(20):
        values, lengths, hidden = table.gather(torch.tensor([i]), masked)
        target = values[0][hidden[0]]
        answers = {
            "model": autoencoder(values, lengths, hidden)[0, hidden[0]].detach(),
            "visible_mean": values[0][~hidden[0]].mean(dim=0),
            "global_mean": 0 * target,
        }
        for name, answer in answers.items():
            by_hand[name] += (answer - target).square().sum(dim=0) / masked.sum()
    for name, error in by_hand.items():
        assert np.allclose(errors[name], error, atol=1e-5), name
    assert (errors["scaled_mean"] <= errors[["visible_mean", "global_mean"]].min(axis=1) + 1e-6).all()


def test_the_table_is_by_group_and_ends_with_the_loss(autoencoder, waves):
    table = PatchTable(waves, waves.ids[:20])
    masked = draw_masks(table.counts, 0.5, 0, 0)
    groups = {"wave": slice(0, 8), "rest": slice(8, 12)}
    found = reconstruction_table(autoencoder, table, masked, groups=groups, precision="float32")
    assert found["group"].tolist() == ["wave", "rest", "weighted"]
    assert found["channels"].tolist() == [8, 4, 11]
    assert found["weight"].tolist() == pytest.approx([28 / 66, 38 / 66, 1])
    loss = autoencoder.loss(*table.gather(torch.arange(20), masked)) / masked.sum()
    assert found["model"].iloc[-1] == pytest.approx(loss.item(), rel=1e-5)
    whole = reconstruction_table(autoencoder, table, masked, precision="float32")
    assert whole["group"].tolist() == ["all", "weighted"]


def test_it_beats_what_is_trivially_possible_on_held_out_proteins(waves):
    config = dataclasses.replace(CONFIG, epochs=12, mask_ratio=0.5, visible_weight=0.0, summary_weight=0.0)
    groups = {"wave": slice(0, 8), "noise": slice(8, 10)}
    result = pretrain_encoder(encoder(), waves, waves.ids, config=config, groups=groups)
    errors = result.reconstruction.set_index("group")
    for name in ("wave", "weighted"):
        assert errors["model"][name] < 0.85 * errors[["visible_mean", "scaled_mean", "global_mean"]].loc[name].min()
    assert errors["weight"]["noise"] < 0.05
    assert errors["global_mean"]["weighted"] == pytest.approx(1, abs=0.2)
    assert result.history["validation_loss"].min() == pytest.approx(errors["model"]["weighted"], rel=1e-4)


def test_the_mean_token_learns_what_patches_are_like_together(waves):
    config = dataclasses.replace(CONFIG, epochs=12, mask_ratio=0.5)
    model = pretrain_encoder(encoder(), waves, waves.ids[:140], waves.ids[140:], config=config).autoencoder
    table = PatchTable(waves, waves.ids[140:])
    values, lengths, masked = table.gather(torch.arange(20), draw_masks(table.counts, 0.5, 1, 0))
    real = torch.arange(values.shape[1]) < table.counts[:, None]
    columns = visible_columns(real & ~masked)
    with torch.no_grad():
        told = model.summary(columns.mean(model.encode_visible(values, lengths, columns)[:, 1:]))
    truth = summarise_patches(model.target(values), real)
    constant = (truth - truth.mean(dim=0)).square().mean()
    assert (told - truth).square().mean() < 0.8 * constant


def test_pretraining_changes_the_encoder_and_standardises_it(waves):
    fresh = encoder()
    model = encoder()
    pretrain_encoder(model, waves, waves.ids, config=CONFIG)
    assert not torch.equal(model.layers[1].feedforward.linear1.weight, fresh.layers[1].feedforward.linear1.weight)
    assert model.patch_embedding.standardises
    assert not model.gradient_checkpointing


def test_given_weights_say_what_is_rebuilt(waves):
    weight = torch.zeros(12)
    weight[10] = 2.0
    result = pretrain_encoder(encoder(), waves, waves.ids, config=CONFIG, weight=weight)
    assert result.autoencoder.target_weight.tolist() == [0.0] * 10 + [1.0, 0.0]


@pytest.mark.parametrize("steps", [7, 18, 40])
def test_a_stopped_pretraining_goes_on_to_the_same_weights_bit_for_bit(waves, tmp_path, steps):
    def stop(progress):
        if (progress.epoch - 1) * progress.steps + progress.step >= steps:
            raise StopTraining

    whole = pretrain_encoder(encoder(), waves, waves.ids, config=CONFIG)
    with pytest.raises(InputError, match="before its first epoch was done") if steps <= 18 else nullcontext():
        pretrain_encoder(encoder(), waves, waves.ids, config=CONFIG, out=tmp_path, callbacks=[stop])
    resumed = pretrain_encoder(encoder(), waves, waves.ids, config=CONFIG, out=tmp_path)
    assert same(weights(whole.autoencoder), weights(resumed.autoencoder))
    assert resumed.history["validation_loss"].tolist() == whole.history["validation_loss"].tolist()


def test_the_state_of_other_proteins_or_weights_is_refused(waves, tmp_path):
    pretrain_encoder(encoder(), waves, waves.ids, config=CONFIG, out=tmp_path)
    for change in ({"proteins": waves.ids[:100]}, {"weight": torch.ones(12)}, {"encoder": encoder(seed=1)}):
        arguments = {"encoder": encoder(), "proteins": waves.ids} | change
        with pytest.raises(InputError, match="other settings, data or another model"):
            pretrain_encoder(store=waves, config=CONFIG, out=tmp_path, **arguments)


@pytest.mark.parametrize("change", [{"micro_batch": 8}, {"gradient_checkpointing": True}])
def test_how_a_batch_is_worked_on_does_not_matter(waves, change):
    first, second = (
        pretrain_encoder(encoder(), waves, waves.ids, config=dataclasses.replace(CONFIG, epochs=1, **settings))
        for settings in ({}, change)
    )
    assert second.history["train_loss"].tolist() == pytest.approx(first.history["train_loss"].tolist(), rel=1e-5)


def test_given_validation_proteins_are_the_ones_reported(waves):
    result = pretrain_encoder(encoder(), waves, waves.ids[:100], waves.ids[100:], CONFIG)
    assert result.notes == ()
    table = PatchTable(waves, waves.ids[100:])
    masked = draw_masks(table.counts, CONFIG.mask_ratio, CONFIG.seed, 0)
    again = reconstruction_table(result.autoencoder, table, masked, precision="float32")
    assert again.equals(result.reconstruction)


def test_proteins_of_one_patch_are_left_out_and_counted(store, proteins, tiny):
    result = pretrain_encoder(encoder(tiny), store, store.ids, config=dataclasses.replace(CONFIG, epochs=1))
    short = [protein for protein, sequence in proteins.sequences.items() if len(sequence) <= 32]
    assert len(short) == 3
    assert result.notes[0].startswith(f"3 proteins of one patch (32 residues or fewer), e.g. {short[0]}, left out")
    assert result.notes[1] == "No validation proteins given: 4, drawn with seed 0, serve as such."
    drawn = pretrain_encoder(encoder(tiny), store, store.ids, config=dataclasses.replace(CONFIG, epochs=1, seed=1))
    assert drawn.reconstruction["global_mean"][0] != result.reconstruction["global_mean"][0]


def test_stores_without_enough_proteins_are_refused(tmp_path):
    generator = np.random.default_rng(0)

    def store_of(name, *counts):
        return write_store(tmp_path / name, {f"P{i}": generator.normal(size=(n, 12)) for i, n in enumerate(counts)})

    for store in (store_of("one", 5), store_of("short", 1, 1, 1), store_of("one_long", 1, 5, 1)):
        with pytest.raises(InputError, match=r"protein of two patches or more is left; .* Give more proteins"):
            pretrain_encoder(encoder(), store, store.ids, config=CONFIG)
    with pytest.raises(InputError, match="no validation protein"):
        pretrain_encoder(encoder(), store, ["P1"], ["P0", "P2"], config=CONFIG)
    two = store_of("two", 5, 4)
    assert len(pretrain_encoder(encoder(), two, two.ids, config=CONFIG, weight=torch.ones(12)).history) == 3


def test_patches_that_their_neighbours_do_not_tell_are_refused(tmp_path):
    patches = {f"P{i}": np.resize([[1.0], [-1.0]], (6, 12)) for i in range(4)}
    store = write_store(tmp_path, patches)
    with pytest.raises(InputError, match="No channel of the patches can be told"):
        pretrain_encoder(encoder(), store, store.ids, config=CONFIG)


def test_bad_arguments_are_refused(waves, tiny):
    with pytest.raises(InputError, match="12 wide; the model reads 960"):
        pretrain_encoder(encoder(tiny), waves, waves.ids, config=CONFIG)
    with pytest.raises(InputError, match="encoder is frozen"):
        pretrain_encoder(encoder().requires_grad_(False), waves, waves.ids, config=CONFIG)
    with pytest.raises(InputError, match=r"1 proteins are not in the store, e\.g\. NOPE"):
        pretrain_encoder(encoder(), waves, [*waves.ids, "NOPE"], config=CONFIG)
    with pytest.raises(InputError, match="2 proteins are for training and for validation"):
        pretrain_encoder(encoder(), waves, waves.ids, waves.ids[:2], config=CONFIG)
    with pytest.raises(InputError, match="size is 'v9'; expected one of v5, v3"):
        pretrain_checkpoint(waves, waves.ids, size="v9", out="nowhere")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"mask_ratio": 0.0}, "mask_ratio is 0.0"),
        ({"visible_weight": -1.0}, "visible_weight is -1.0"),
        ({"visible_weight": float("nan")}, "visible_weight is nan"),
        ({"summary_weight": -1.0}, "summary_weight is -1.0"),
        ({"mask_ratio": 1.0}, "mask_ratio is 1.0"),
        ({"mask_ratio": float("nan")}, "mask_ratio is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"decoder_layers": 0}, "decoder_layers is 0"),
        ({"decoder_width": 30}, "decoder_width is 30, which decoder_heads=4 does not divide"),
        ({"warmup": 1.0}, "warmup is 1.0"),
        ({"schedule": "step"}, "schedule is 'step'"),
    ],
)
def test_settings_out_of_range_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        PretrainConfig(**bad)


@pytest.mark.parametrize(("steps", "warmup"), [(20, 0.25), (10, 0.1), (1, 0.9), (3, 0.0)])
def test_the_cosine_schedule_rises_in_a_line_and_falls_to_nothing(steps, warmup):
    model, rates = torch.nn.Linear(1, 1), []
    task = Task(
        steps,
        lambda epoch: [[None]] * steps,
        lambda _: model.weight.sum(),
        lambda: {"validation_loss": 0.0},
        steps,
        "proteins",
    )
    config = LoopConfig(epochs=1, learning_rate=0.1, schedule="cosine", warmup=warmup, monitor="validation_loss")
    fit(model, task, config, callbacks=[lambda progress: rates.append(progress.learning_rate)])
    rise = max(1, int(warmup * steps))
    assert rates[: rise - 1] == pytest.approx([0.1 * (step + 2) / rise for step in range(rise - 1)])
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert all(a >= b for a, b in zip(rates[rise:], rates[rise + 1 :], strict=False))


def test_one_protein_can_be_looked_at(autoencoder, waves):
    target, rebuilt, masked = rebuild(autoencoder, waves, "P0_3", mask_ratio=0.5)
    assert target.shape == rebuilt.shape
    assert torch.allclose(target, torch.from_numpy(waves["P0_3"]))
    assert masked.sum() == round(len(target) / 2)


def test_a_protein_of_one_patch_cannot_be_rebuilt(autoencoder, tmp_path):
    store = write_store(tmp_path, {"P": np.ones((1, 12))})
    with pytest.raises(InputError, match="P is one patch; expected two or more"):
        rebuild(autoencoder, store, "P")


def test_a_classifier_takes_the_pretrained_encoder(store, tmp_path, monkeypatch, tiny):
    monkeypatch.setitem(PRESETS, "v3", tiny)
    result = pretrain_checkpoint(store, store.ids, size="v3", config=CONFIG, out=tmp_path, provenance={"by": "a test"})
    assert {p.name for p in tmp_path.iterdir()} >= {"encoder.safetensors", "history.csv", "reconstruction.csv"}
    model = create_ppi_classifier(mae_checkpoint_path=tmp_path, config=tiny)
    assert same(weights(model.encoder), weights(result.autoencoder.encoder))
