import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from ppi_lib.checkpoint import Checkpoint, create_ppi_classifier, load_checkpoint, save_checkpoint
from ppi_lib.encoder import PRESETS
from ppi_lib.errors import InputError
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter


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


def change(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


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
    content = json.loads((folder / "config.json").read_text())
    content["model"]["width"] = PRESETS["v3"].width
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="weights do not fit"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_truncated_file_is_refused(saved, name):
    _, folder = saved
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=name):
        load_checkpoint(folder)


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


def test_encoder_weights_are_read_from_a_file(tiny, tmp_path):
    source = create_ppi_classifier(config=tiny, seed=7)
    save_file(source.encoder.state_dict(), tmp_path / "encoder.safetensors")
    model = create_ppi_classifier(tmp_path / "encoder.safetensors", config=tiny)
    assert torch.equal(model.encoder.position, source.encoder.position)
    with pytest.raises(InputError, match="weights do not fit"):
        create_ppi_classifier(tmp_path / "encoder.safetensors")
