import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from ppi_lib.checkpoint import create_ppi_classifier, load_checkpoint, save_encoder
from ppi_lib.embed import embed_proteins
from ppi_lib.encoder import PRESETS
from ppi_lib.errors import InputError
from ppi_lib.loop import StopTraining
from ppi_lib.pair_task import PairTask
from ppi_lib.plain import PairDataset, collate_fn_v5, train_epoch, validate_epoch
from ppi_lib.predict import predict_pairs
from ppi_lib.pretrain import pretrain_encoder
from ppi_lib.proteins import Pairs, Proteins
from ppi_lib.train import (
    SETTINGS,
    TRANSFERS,
    TrainConfig,
    find_or_train,
    parameter_counts,
    standardise_input,
    suited,
    train_checkpoint,
    train_classifier,
)

CONFIG = TrainConfig(epochs=8, learning_rate=3e-3, batch_size=32, micro_batch=16, precision="float32")


def trained(tiny, store, pair_sets, config=CONFIG, **kwargs):
    model = create_ppi_classifier(config=tiny)
    return model, train_classifier(model, store, *pair_sets, config, progress=False, **kwargs)


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_it_learns_a_rule_that_holds_for_new_proteins(tiny, store, pair_sets):
    _, result = trained(tiny, store, pair_sets, dataclasses.replace(CONFIG, epochs=16))
    assert result.history["validation_auroc"].max() > 0.7
    assert 0 < result.threshold < 1


def test_permuted_labels_teach_nothing(tiny, store, pair_sets):
    train, validation = pair_sets
    labels = np.random.default_rng(0).permutation(train.labels)
    permuted = Pairs(a=train.a, b=train.b, labels=labels, notes=())
    _, result = trained(tiny, store, (permuted, validation))
    assert abs(result.history["validation_auroc"].iloc[-1] - 0.5) < 0.25


def test_the_frozen_encoder_is_left_as_it_was(tiny, store, pair_sets):
    model, _ = trained(tiny, store, pair_sets)
    fresh = create_ppi_classifier(config=tiny)
    standardise_input(fresh, store, pair_sets[0].proteins)
    assert same_weights(model.encoder, fresh.encoder)
    assert not same_weights(model.head, fresh.head)


@pytest.mark.parametrize("freeze", [True, False])
def test_one_step_equals_a_step_of_the_plain_way(tiny, store, pair_sets, freeze):
    """Tokens made once, micro-batches of like length, and the plain loader give the same gradient step."""
    tiny = dataclasses.replace(tiny, dropout=0.0)
    train, validation = pair_sets
    rows = np.arange(32)
    batch = Pairs(a=train.a[rows], b=train.b[rows], labels=train.labels[rows], notes=())
    config = dataclasses.replace(CONFIG, epochs=1)
    fast, plain = (create_ppi_classifier(config=tiny, freeze_encoder=freeze) for _ in range(2))
    train_classifier(fast, store, batch, validation, config, progress=False)
    standardise_input(plain, store, batch.proteins)
    parameters = [p for p in plain.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=CONFIG.learning_rate, weight_decay=CONFIG.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=CONFIG.learning_rate, total_steps=2)
    loader = DataLoader(PairDataset(store, batch), batch_size=32, collate_fn=collate_fn_v5)

    def criterion(logits, labels):
        return nn.functional.binary_cross_entropy_with_logits(logits, labels)

    model_loss = train_epoch(plain, loader, optimizer, criterion, "cpu").loss
    assert model_loss > 0
    assert schedule.get_last_lr()[0] > 0
    for (name, a), b in zip(fast.named_parameters(), plain.parameters(), strict=True):
        if "k_proj.bias" not in name:  # its true gradient is 0, and Adam turns rounding into steps
            near = torch.isclose(a, b, atol=3e-4).float().mean()
            assert near >= (1 if freeze else 0.8), name  # nor is the gradient of much of an encoder


def test_validate_epoch_agrees_with_the_fast_way(tiny, store, pair_sets):
    model, result = trained(tiny, store, pair_sets)
    loader = DataLoader(PairDataset(store, pair_sets[1]), batch_size=7, collate_fn=collate_fn_v5)
    plain = validate_epoch(model, loader, nn.BCEWithLogitsLoss(), "cpu")
    best = result.history.set_index("epoch").loc[result.best_epoch]
    assert plain.loss == pytest.approx(best["validation_loss"], abs=1e-5)
    assert plain.auroc == pytest.approx(best["validation_auroc"], abs=1e-6)


def test_collate_takes_residue_embeddings_as_well():
    a, b = torch.randn(70, 960), torch.randn(1, 960)
    batch = collate_fn_v5([(a, b, 1.0), (b, a, 0.0)])
    assert batch.a.values.shape == (2, 3, 960)
    assert batch.a.lengths.tolist() == [70, 1]
    assert torch.allclose(batch.a.values[0, 2], a[64:].mean(dim=0), atol=1e-6)
    assert batch.labels.tolist() == [1.0, 0.0]


KILLED = """
import sys
import numpy as np, torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from conftest import TINY
from ppi_lib.checkpoint import create_ppi_classifier, load_checkpoint, save_encoder
from ppi_lib.proteins import Pairs
from ppi_lib.store import PatchStore
from ppi_lib.train import TrainConfig, train_classifier
data = np.load({data!r}, allow_pickle=False)
sets = [
    Pairs(a=data[n + "a"].astype(object), b=data[n + "b"].astype(object), labels=data[n + "l"], notes=()) for n in "tv"
]
config = TrainConfig(epochs=8, learning_rate=3e-3, batch_size=32, micro_batch=16, precision="float32")
model = create_ppi_classifier(config=TINY)
print("start", flush=True)
train_classifier(model, PatchStore({store!r}), *sets, config, out={out!r}, progress=False,
                 callbacks=[lambda p: print(p.epoch, p.step, flush=True)])
torch.save(model.state_dict(), {out!r} + "/final.pt")
"""


def test_a_killed_training_ends_with_the_same_weights(tiny, store, pair_sets, tmp_path):
    whole, _ = trained(tiny, store, pair_sets)
    arrays = {
        n + k: v for n, p in zip("tv", pair_sets, strict=True) for k, v in (("a", p.a), ("b", p.b), ("l", p.labels))
    }
    np.savez(tmp_path / "pairs.npz", **{k: v.astype(str) if v.dtype == object else v for k, v in arrays.items()})
    script = KILLED.format(
        tests=os.path.dirname(__file__),
        data=str(tmp_path / "pairs.npz"),
        store=str(store.path),
        out=str(tmp_path),
    )
    for kill_after in ("2 3\n", "5 1\n", None):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line == kill_after:
                    process.send_signal(signal.SIGKILL)
                    break
            process.stdout.read()
    assert process.returncode == 0
    resumed = torch.load(tmp_path / "final.pt", weights_only=True)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.state_dict().items())


def test_stale_tokens_are_not_used(tiny, store, pair_sets, tmp_path):
    trained(tiny, store, pair_sets, out=tmp_path)
    (tmp_path / "training.pt").unlink()
    other = create_ppi_classifier(config=tiny, seed=1)
    cached = train_classifier(other, store, *pair_sets, CONFIG, out=tmp_path, progress=False)
    fresh = train_classifier(create_ppi_classifier(config=tiny, seed=1), store, *pair_sets, CONFIG, progress=False)
    assert cached.history["train_loss"].tolist() == fresh.history["train_loss"].tolist()


def test_a_folder_with_another_training_is_refused(tiny, store, pair_sets, tmp_path):
    trained(tiny, store, pair_sets, out=tmp_path)
    with pytest.raises(InputError, match="other settings, data or another model"):
        trained(tiny, store, pair_sets[::-1], out=tmp_path)


def test_a_remainder_of_one_pair_is_trained_too(tiny, store, pair_sets):
    train, validation = pair_sets
    config = dataclasses.replace(CONFIG, epochs=1, batch_size=8, micro_batch=4)
    _, result = trained(tiny, store, (train.take(np.arange(9)), validation), config)
    assert len(result.history) == 1


def test_other_proteins_in_the_store_do_not_matter_for_going_on(tiny, proteins, pair_sets, tmp_path):
    small = embed_proteins(proteins, tmp_path / "store", progress=False)
    trained(tiny, small, pair_sets, out=tmp_path / "run")
    more = Proteins(sequences={**proteins.sequences, "NEW": "ACDEF"}, notes=())
    steps = []
    larger = embed_proteins(more, tmp_path / "store", progress=False)
    trained(tiny, larger, pair_sets, out=tmp_path / "run", callbacks=[steps.append])
    assert steps == []


def test_a_refused_training_leaves_the_folder_as_it_was(tiny, store, pair_sets, tmp_path):
    trained(tiny, store, pair_sets, out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="other settings"):
        trained(tiny, store, pair_sets[::-1], out=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_each_transfer_trains_what_it_says_and_can_be_loaded(tiny, store, pair_sets, tmp_path, monkeypatch, transfer):
    monkeypatch.setitem(PRESETS, "v3", tiny)
    config = dataclasses.replace(CONFIG, epochs=2)
    checkpoint, result = train_checkpoint(
        store, *pair_sets, size="v3", transfer=transfer, config=config, out=tmp_path, progress=False
    )
    fresh = create_ppi_classifier(config=tiny)
    standardise_input(fresh, store, pair_sets[0].proteins)
    loaded = load_checkpoint(tmp_path).model
    start, now = fresh.encoder.state_dict(), loaded.encoder.state_dict()
    changed = {name for name in start if not torch.allclose(start[name], now[name])}
    if transfer == "frozen":
        assert not changed
    elif transfer == "lora":
        assert changed == {f"layers.{i}.attention.{p}.weight" for i in range(tiny.layers) for p in ("q_proj", "v_proj")}
    else:
        assert len(changed) > 0.9 * (len(start) - 2 - tiny.layers)
    assert not same_weights(fresh.head, loaded.head)
    pairs = pair_sets[1]
    before, after = (predict_pairs(m, store, pairs, progress=False).logits for m in (checkpoint.model, loaded))
    assert np.allclose(before, after, atol=1e-5)
    assert len(result.history) == 2


def test_a_pretrained_encoder_is_where_training_starts(tiny, store, pair_sets, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "v3", tiny)
    encoder = create_ppi_classifier(config=tiny, seed=7).encoder
    encoder.patch_embedding.set_standardisation(*store.moments(pair_sets[0].proteins))
    save_encoder(encoder, tmp_path / "encoder", store.info)
    config = dataclasses.replace(CONFIG, epochs=1)
    options = {"size": "v3", "config": config, "out": tmp_path / "run", "progress": False}
    checkpoint, _ = train_checkpoint(store, *pair_sets, encoder=tmp_path / "encoder", **options)
    assert same_weights(checkpoint.model.encoder, encoder)
    with pytest.raises(InputError, match="transfer is 'warm'; expected one of frozen, lora, full"):
        train_checkpoint(store, *pair_sets, transfer="warm", **options)


def test_another_head_is_another_training(tiny, store, pair_sets, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=1)
    train_classifier(create_ppi_classifier(config=tiny), store, *pair_sets, config, out=tmp_path, progress=False)
    other = create_ppi_classifier(config=tiny)
    torch.nn.init.normal_(other.head[0].weight)
    with pytest.raises(InputError, match="Choose another folder"):
        train_classifier(other, store, *pair_sets, config, out=tmp_path, progress=False)


def test_weights_of_a_file_take_the_input_as_they_did(tiny, store, pair_sets):
    """The identity is a standardisation too, if it is the file's."""
    model = create_ppi_classifier(config=tiny)
    model.encoder.patch_embedding.settled = True
    values, lengths = store.batch(store.ids[:4])
    before = model.encoder(values, lengths)
    train_classifier(model, store, *pair_sets, dataclasses.replace(CONFIG, epochs=1), progress=False)
    assert torch.equal(model.encoder(values, lengths), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 64}, r"patches are of 32 residues; the model reads patches of 64"),
        ({"max_residues": 64}, r"residues; the model reads up to 64"),
        ({"embedding_width": 1280}, r"960 wide; the model reads 1280"),
    ],
)
def test_a_store_that_the_model_does_not_read_is_refused(tiny, store, pair_sets, change, message):
    model = create_ppi_classifier(config=dataclasses.replace(tiny, **change))
    with pytest.raises(InputError, match=message):
        train_classifier(model, store, *pair_sets, CONFIG, progress=False)
    with pytest.raises(InputError, match=message):
        predict_pairs(model, store, pair_sets[1], progress=False)
    with pytest.raises(InputError, match=message):
        pretrain_encoder(model.encoder.requires_grad_(True), store, store.ids)


def test_a_checkpoint_of_other_settings_than_asked_for_is_refused(tiny, store, pair_sets, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "v3", tiny)
    one = {"size": "v3", "out": tmp_path, "config": dataclasses.replace(CONFIG, epochs=1), "progress": False}
    find_or_train(store, *pair_sets, **one)
    assert "Trained before (v3, best epoch 1), read" in find_or_train(store, *pair_sets, size="v3", out=tmp_path).note
    assert "Trained before" in find_or_train(store, *pair_sets, **one, transfer="frozen").note
    for other in ({"transfer": "lora"}, {"config": dataclasses.replace(CONFIG, epochs=2)}):
        with pytest.raises(InputError, match=f"holds a checkpoint with {'tra(nsfer|ining)'} .*; asked for"):
            find_or_train(store, *pair_sets, **{**one, **other})


def test_a_monitor_that_no_history_has_is_refused_before_training():
    with pytest.raises(InputError, match="monitor is 'validation_f1'; expected one of validation_auprc"):
        TrainConfig(monitor="validation_f1")


def test_an_encoder_that_learns_encodes_each_protein_of_a_batch_once(tiny, store, pair_sets, monkeypatch):
    model = create_ppi_classifier(config=tiny, freeze_encoder=False)
    config = dataclasses.replace(CONFIG, micro_batch=32, batch_size=32)
    task = PairTask(model, store, *pair_sets, config, None).task
    encoded = []
    plain = model.encoder.forward
    monkeypatch.setattr(model.encoder, "forward", lambda x, lengths: encoded.extend(lengths) or plain(x, lengths))
    (micro_batch,) = next(iter(task.batches(1)))
    rows, _ = micro_batch
    task.loss(micro_batch).backward()
    train = pair_sets[0]
    assert len(encoded) == len({*train.a[rows], *train.b[rows]})
    assert all(p.grad is not None for name, p in model.encoder.named_parameters() if "cls" not in name)


def test_it_says_how_many_parameters_train(tiny, store, pair_sets, capsys):
    model = create_ppi_classifier(config=tiny, freeze_encoder=False, use_lora=True)
    train_classifier(model, store, *pair_sets, dataclasses.replace(CONFIG, epochs=1))
    total, trained = parameter_counts(model)
    assert f"{trained:,} of {total:,} parameters train, for at most 1 epochs of " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "transfer", "pairs", "batch", "epochs"),
    [
        ("v5", "frozen", None, 2048, 3),
        ("v5", "frozen", 163_192, 2048, 3),  # bernett's, on which the settings were chosen
        ("v5", "frozen", 8_000, 128, 4),
        ("v5", "frozen", 2_000, 32, 4),
        ("v5", "frozen", 500, 32, 15),
        ("v5", "lora", 163_192, 128, 3),
        ("v5", "full", 500, 32, 15),
        ("v3", "frozen", 12_000, 128, 15),  # demo's
        ("v3", "frozen", 40, 32, 120),
    ],
)
def test_a_small_table_is_learned_in_as_many_steps(size, transfer, pairs, batch, epochs):
    config = suited(size, transfer, pairs)
    assert (config.batch_size, config.epochs) == (batch, epochs)
    assert config.learning_rate == SETTINGS[size].learning_rate / (10 if transfer == "full" else 1)
    assert pairs is None or config.epochs * -(-pairs // config.batch_size) >= 240


def test_a_training_without_settings_takes_those_that_suit_its_pairs(store, pair_sets, tmp_path):
    def stop(progress):
        if progress.history:
            raise StopTraining

    checkpoint, _ = train_checkpoint(store, *pair_sets, size="v3", out=tmp_path, callbacks=[stop])
    expected = suited("v3", "frozen", len(pair_sets[0]))
    assert checkpoint.provenance["training"] == vars(expected)
    assert expected.batch_size < SETTINGS["v3"].batch_size


def pairs(*labels) -> Pairs:
    values = None if labels == (None,) else np.array(labels, dtype=np.float32)
    count = 1 if values is None else len(labels)
    ids = np.array(["P01"] * count, dtype=object)
    return Pairs(a=ids, b=ids, labels=values, notes=())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (pairs(), "split is empty"),
        (pairs(None), "pairs have no labels"),
        (pairs(1, 1), "split has 2 pairs, all labelled 1"),
    ],
)
def test_pairs_without_two_classes_are_refused(tiny, store, bad, message):
    good = pairs(0, 1)
    model = create_ppi_classifier(config=tiny)
    with pytest.raises(InputError, match=f"training {message}"):
        train_classifier(model, store, bad, good, progress=False)
    with pytest.raises(InputError, match=f"validation {message}"):
        train_classifier(model, store, good, bad, progress=False)


def test_a_model_of_another_width_is_refused(tiny, store):
    model = create_ppi_classifier(config=dataclasses.replace(tiny, embedding_width=1280))
    with pytest.raises(InputError, match="960 wide; the model reads 1280"):
        train_classifier(model, store, pairs(0, 1), pairs(0, 1), progress=False)


def test_parameters_are_counted():
    model = create_ppi_classifier()
    assert parameter_counts(model) == (101_587_201, 14_638_849)
    assert PRESETS["v5"] == model.config


def find(store, pair_sets, out, **changes):
    given = {"size": "v3", "out": out, "config": dataclasses.replace(CONFIG, epochs=1), "progress": False}
    return find_or_train(store, *pair_sets, **{**given, **changes})


def test_a_checkpoint_is_found_again_and_one_that_does_not_fit_is_refused(store, pair_sets, tmp_path):
    first = find(store, pair_sets, tmp_path)
    assert first.note.startswith("Trained here (v3, best epoch 1)")
    again = find(store, pair_sets, tmp_path, config=None)
    assert again.note.startswith("Trained before (v3, best epoch 1)")
    assert same_weights(first.checkpoint.model, again.checkpoint.model)
    assert again.checkpoint.threshold == first.checkpoint.threshold
    with pytest.raises(InputError, match=r"holds a checkpoint of size 'v3'; expected 'v5'"):
        find(store, pair_sets, tmp_path, size="v5")
    train, validation = pair_sets
    with pytest.raises(InputError, match="trained on other pairs"):
        find(store, (train.take(np.arange(100)), validation), tmp_path)
