import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import ppi_lib.checkpoint
from ppi_lib.calibrate import Calibration
from ppi_lib.checkpoint import (
    Checkpoint,
    create_ppi_classifier,
    load_checkpoint,
    read_encoder,
    read_weights,
    save_checkpoint,
    save_encoder,
    save_model,
    write_weights,
)
from ppi_lib.encoder import PRESETS, ModelConfig
from ppi_lib.errors import InputError
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter
from ppi_lib.train import standardise_input


@pytest.fixture
def saved(tiny, tmp_path):
    model = create_ppi_classifier(config=tiny, seed=3)
    save_checkpoint(Checkpoint(model, StoreInfo("profile", "1", 960), 0.4, {"dataset": "toy"}), tmp_path)
    return model, tmp_path


def test_what_is_saved_is_loaded(saved):
    model, folder = saved
    loaded = load_checkpoint(folder)
    assert loaded.model.config == model.config
    assert all(torch.equal(v, loaded.model.state_dict()[k]) for k, v in model.state_dict().items())
    assert (loaded.embedding, loaded.threshold) == (StoreInfo("profile", "1", 960), 0.4)
    assert loaded.provenance == {"dataset": "toy"}
    assert not loaded.model.training


def test_a_calibration_is_kept(saved):
    model, folder = saved
    calibration = Calibration(temperature=1.7, knots=((-1.0, -0.5), (2.0, 1.5)), prevalence=0.4, pairs=4000)
    save_checkpoint(Checkpoint(model, StoreInfo("profile", "1", 960), 0.4, {}, calibration), folder)
    assert load_checkpoint(folder).calibration == calibration


def test_a_checkpoint_of_an_older_version_is_loaded_without_calibration(saved):
    _, folder = saved
    tensors, about = read_weights(folder / "model.safetensors")
    del about["calibration"]
    write_weights(folder / "model.safetensors", tensors, about)
    assert load_checkpoint(folder).calibration.method == "none"


def change(folder, edit, name="model.safetensors"):
    tensors, about = read_weights(folder / name)
    edit(tensors)
    write_weights(folder / name, tensors, about)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("encoder.position"), "encoder.position is missing"),
        (lambda t: t.update(extra=torch.ones(1)), "extra has no place"),
        (lambda t: t.update({"encoder.cls_token": torch.ones(5)}), r"cls_token is \(5,\), expected \(32,\)"),
        (lambda t: t["encoder.cls_token"].fill_(torch.nan), "cls_token holds NaN"),
    ],
)
def test_a_weight_that_does_not_fit_fails_by_name(saved, edit, message):
    _, folder = saved
    change(folder, edit)
    with pytest.raises(InputError, match=message):
        load_checkpoint(folder)


def test_another_preset_is_refused(saved):
    _, folder = saved
    tensors, about = read_weights(folder / "model.safetensors")
    about["model"]["width"] = PRESETS["v3"].width
    write_weights(folder / "model.safetensors", tensors, about)
    with pytest.raises(InputError, match="weights do not fit"):
        load_checkpoint(folder)


def test_a_truncated_file_is_refused(saved):
    path = saved[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_checkpoint(saved[1])


def test_cut_off_between_its_two_files_a_checkpoint_is_the_new_one_whole(saved, tiny, monkeypatch):
    _, folder = saved
    old_copy = (folder / "config.json").read_text()
    new = Checkpoint(create_ppi_classifier(config=tiny, seed=4), StoreInfo("profile", "2", 960), 0.7, {"run": 2})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ppi_lib.checkpoint, "_write_copy", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(new, folder)
    assert (folder / "config.json").read_text() == old_copy
    loaded = load_checkpoint(folder)
    assert loaded[1:] == new[1:]
    assert torch.equal(loaded.model.head[0].weight, new.model.head[0].weight)


def test_what_is_said_of_a_model_can_be_read_by_people(saved):
    copy = json.loads((saved[1] / "config.json").read_text())
    assert copy.pop("note").startswith("For people")
    assert copy == read_weights(saved[1] / "model.safetensors").about
    assert (copy["threshold"], copy["model"]["width"]) == (0.4, 32)


def test_a_checkpoint_of_an_older_version_has_all_but_the_weights_in_its_json(saved):
    _, folder = saved
    path = folder / "model.safetensors"
    save_file(load_file(path), path)
    assert load_checkpoint(folder).threshold == 0.4
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: not a model's configuration"):
        load_checkpoint(folder)


def test_a_model_alone_is_no_checkpoint(tiny, tmp_path):
    save_model(create_ppi_classifier(config=tiny), tmp_path)
    with pytest.raises(InputError, match=r"without its embedder and threshold.*PPIClassifier\.from_pretrained"):
        load_checkpoint(tmp_path)


def test_a_pickle_is_not_opened(saved):
    _, folder = saved

    class Trap:
        def __reduce__(self):
            return (open, (str(folder / "trapped"), "w"))

    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_checkpoint(folder)
    assert not (folder / "trapped").exists()


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no trained model.*ppi train"):
        load_checkpoint(tmp_path)


def test_a_store_of_another_embedder_is_refused(saved, tmp_path):
    loaded = load_checkpoint(saved[1])
    with StoreWriter(tmp_path / "store", StoreInfo("other", "2", 64)):
        pass
    with pytest.raises(InputError, match=r"embedded by other .*width 64.*the model reads profile"):
        loaded.require_store(PatchStore(tmp_path / "store"))


@pytest.fixture
def pretrained(tiny, store, tmp_path):
    """An encoder that was standardised on the store, saved as a pretraining leaves it."""
    model = create_ppi_classifier(config=tiny, seed=7)
    standardise_input(model, store, store.ids)
    save_encoder(model.encoder, tmp_path / "pretrained", store.info, {"proteins": 40})
    return model.encoder, tmp_path / "pretrained"


def same_weights(first, second) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def test_a_pretrained_encoder_is_read_from_its_folder_or_file(pretrained, tiny, store):
    encoder, folder = pretrained
    for path in (folder, folder / "encoder.safetensors", str(folder)):
        model = create_ppi_classifier(path, config=tiny)
        assert same_weights(encoder, model.encoder)
        assert model.encoder.patch_embedding.standardises
    file = read_encoder(folder)
    assert (file.embedding, file.provenance, file.notes) == (store.info, {"proteins": 40}, ())
    copy = json.loads((folder / "encoder.json").read_text())
    assert (copy["model"]["layers"], copy["embedding"]["embedder"]) == (2, "profile")


def test_an_encoder_can_be_saved_under_a_name_of_its_own(pretrained, tiny, store, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_encoder(pretrained[0], path, store.info)
    assert same_weights(pretrained[0], create_ppi_classifier(path, config=tiny).encoder)
    assert (tmp_path / "mine.json").exists()


def test_bare_encoder_weights_are_read_if_they_fit(tiny, tmp_path):
    source, path = create_ppi_classifier(config=tiny, seed=7), tmp_path / "encoder.safetensors"
    save_file(source.encoder.state_dict(), path)
    assert same_weights(source.encoder, create_ppi_classifier(path, config=tiny).encoder)
    assert ModelConfig.from_checkpoint(path, heads=4).width == 32
    with pytest.raises(InputError, match="width 32, expected 768"):
        create_ppi_classifier(path)


def test_the_file_says_which_activation(tiny, store, tmp_path):
    relu = replace(tiny, activation="relu")
    save_encoder(create_ppi_classifier(config=relu).encoder, tmp_path, store.info)
    assert create_ppi_classifier(tmp_path, config=tiny).config == relu


def test_a_model_can_be_built_at_the_sizes_of_a_checkpoint(pretrained, tiny):
    assert ModelConfig.from_checkpoint(pretrained[1]) == tiny
    assert ModelConfig.from_checkpoint(pretrained[1], heads=4) == tiny
    with pytest.raises(InputError, match="trained with 4 heads; heads=8 would change it"):
        ModelConfig.from_checkpoint(pretrained[1], heads=8)


def test_other_sizes_are_refused_with_each_size_and_the_three_ways_on(tmp_path, store):
    save_encoder(create_ppi_classifier(config=PRESETS["v3"]).encoder, tmp_path, store.info)
    with pytest.raises(InputError) as caught:
        create_ppi_classifier(tmp_path)
    message = str(caught.value)
    for size in ("width 256, expected 768", "layers 2, expected 12", "heads 8, expected 12", "1024, expected 3072"):
        assert size in message
    for way in ("ppi pretrain", "ModelConfig.from_checkpoint(path)", "mae_checkpoint_path=None"):
        assert way in message
    create_ppi_classifier(tmp_path, config=ModelConfig.from_checkpoint(tmp_path))


def test_the_same_sizes_with_other_heads_are_refused(pretrained, tiny):
    with pytest.raises(InputError, match="model's: heads 4, expected 8"):
        create_ppi_classifier(pretrained[1], config=replace(tiny, heads=8))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("layers.1.norm2.bias"), r"1 weights do not fit, layers\.1\.norm2\.bias is missing"),
        (lambda t: t.update(decoder=torch.ones(1)), "decoder has no place"),
        (lambda t: t["norm.weight"].fill_(torch.inf), r"norm\.weight holds NaN or inf"),
    ],
)
def test_an_encoder_weight_that_does_not_fit_fails_by_name(edit, message, pretrained, tiny):
    change(pretrained[1], edit, "encoder.safetensors")
    with pytest.raises(InputError, match=message):
        create_ppi_classifier(pretrained[1], config=tiny)


def test_what_is_no_encoder_is_refused(saved, tiny, pretrained, tmp_path):
    with pytest.raises(InputError, match=r"no encoder here .*ppi pretrain"):
        create_ppi_classifier(saved[1], config=tiny)
    with pytest.raises(InputError, match=r"not an encoder .*no patch_embedding\.input_mean among encoder\."):
        create_ppi_classifier(saved[1] / "model.safetensors", config=tiny)
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"not an encoder \(no patch_embedding\.weight, no position"):
        create_ppi_classifier(tmp_path / "a.safetensors", config=tiny)
    with pytest.raises(InputError, match="there is no such file"):
        create_ppi_classifier(tmp_path / "absent.safetensors", config=tiny)
    path = pretrained[1] / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        create_ppi_classifier(pretrained[1], config=tiny)


def test_an_encoder_says_whether_a_store_is_of_its_kind(pretrained, store, tiny, tmp_path):
    file = read_encoder(pretrained[1])
    file.require_store(store, store.ids)
    file.require_store(store, store.ids[:1])
    for info in (StoreInfo("profile", "0", 960), StoreInfo("other", store.info.version, 64)):
        with StoreWriter(tmp_path / info.embedder, info):
            pass
        with pytest.raises(
            InputError, match=r"embedded by .*the encoder reads profile .*width 960.*Embed the proteins"
        ):
            file.require_store(PatchStore(tmp_path / info.embedder), [])
    bare = file._replace(embedding=None, known={**file.known, "embedding_width": 64})
    with pytest.raises(InputError, match=r"960 wide; the encoder of .* reads 64"):
        bare.require_store(store, store.ids)


@pytest.mark.parametrize("factor", [0.1, 10])
def test_embeddings_on_another_scale_than_the_pretrainings_are_refused(factor, pretrained, store, tmp_path):
    with StoreWriter(tmp_path / "scaled", store.info) as writer:
        for protein in store.ids[:20]:
            writer.add(protein, store[protein] * factor, store.length(protein), store.sequence_digest(protein))
    with pytest.raises(InputError, match=r"mean .* and deviation .*; expected about 0 and 1\. Scale them"):
        read_encoder(pretrained[1]).require_store(PatchStore(tmp_path / "scaled"), store.ids[:20])


def test_a_frozen_encoder_with_adapters_is_two_things(tiny):
    for arguments in ({"use_lora": True}, {"use_lora": True, "freeze_encoder": True}):
        with pytest.raises(InputError, match=r"two things.*pass use_lora=True, freeze_encoder=False"):
            create_ppi_classifier(config=tiny, **arguments)


def test_the_encoder_is_frozen_or_not_as_asked(pretrained, tiny):
    for freeze in (True, False):
        model = create_ppi_classifier(pretrained[1], freeze, config=tiny)
        assert {p.requires_grad for p in model.encoder.parameters()} == {not freeze}
