"""Language models: tiny random ones, saved to a folder; nothing is downloaded."""

import json
import shutil
import socket

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    EsmcConfig,
    EsmcForMaskedLM,
    EsmcModel,
    EsmConfig,
    EsmcTokenizer,
    EsmModel,
    EsmTokenizer,
)

from ppi_lib import language_model
from ppi_lib.embed import embed_proteins, load_embedder
from ppi_lib.errors import InputError
from ppi_lib.language_model import LanguageModel, find_model
from ppi_lib.proteins import STANDARD, Proteins
from tests.conftest import random_sequence

ESMC = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LENGTHS = [1, 2, 31, 32, 33, 63, 64, 65, 150, 299, 300]
SEQUENCES = [random_sequence(length, length) for length in LENGTHS]


def save(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def esmc(tmp_path_factory):
    torch.manual_seed(0)
    return save(EsmcModel(EsmcConfig(**ESMC)), EsmcTokenizer(), tmp_path_factory.mktemp("esmc"))


@pytest.fixture(scope="module")
def esm2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("esm2")
    letters = ["<cls>", "<pad>", "<eos>", "<unk>", *STANDARD, "X", "<mask>"]
    (folder / "vocab.txt").write_text("\n".join(letters))
    special = {"vocab_size": len(letters), "pad_token_id": 1, "mask_token_id": len(letters) - 1}
    config = EsmConfig(**ESMC, **special, position_embedding_type="rotary", token_dropout=True)
    torch.manual_seed(1)
    return save(EsmModel(config, add_pooling_layer=False), EsmTokenizer(folder / "vocab.txt"), folder)


def own_rows(folder, sequence: str) -> np.ndarray:
    """The rows of the residues, as the model alone gives them for one sequence."""
    options = (
        {"add_pooling_layer": False} if json.loads((folder / "config.json").read_text())["model_type"] == "esm" else {}
    )
    model = AutoModel.from_pretrained(folder, local_files_only=True, **options).eval()
    tokenizer = EsmcTokenizer() if not options else EsmTokenizer(folder / "vocab.txt")
    with torch.no_grad():
        output = model(**tokenizer([sequence], return_tensors="pt")).last_hidden_state[0].numpy()
    assert len(output) == len(sequence) + 2
    return output[1:-1]


@pytest.mark.parametrize("kind", ["esmc", "esm2"])
def test_a_batch_gives_what_each_protein_gives_alone_and_both_the_mean_of_the_models_own_rows(kind, request):
    folder = request.getfixturevalue(kind)
    model = LanguageModel(str(folder))
    for sequence, patches in zip(SEQUENCES, model.embed_batch(SEQUENCES), strict=True):
        rows = own_rows(folder, sequence)
        assert len(rows) == len(sequence)
        means = np.stack([rows[start : start + 32].mean(axis=0) for start in range(0, len(rows), 32)])
        assert np.abs(model.embed_batch([sequence])[0] - patches).max() < 1e-5
        assert np.abs(means - patches).max() < 1e-5


def test_every_length_to_300_is_the_same_alone_and_in_a_batch(esmc):
    model = LanguageModel(str(esmc))
    sequences = {str(length): random_sequence(length, length) for length in range(1, 301)}
    together = dict(model.embed(sequences))
    assert sorted(together) == sorted(sequences)
    for protein, sequence in sequences.items():
        assert np.abs(model.embed_batch([sequence])[0] - together[protein]).max() < 1e-5


def test_a_batch_never_holds_more_tokens_than_its_bound(esmc, monkeypatch):
    monkeypatch.setattr(language_model, "_BATCH_TOKENS", 200)
    model, sizes = LanguageModel(str(esmc)), []
    forward = model.model.forward
    monkeypatch.setattr(
        model.model, "forward", lambda **tokens: sizes.append(tokens["input_ids"].numel()) or forward(**tokens)
    )
    list(model.embed({str(len(s)): s for s in SEQUENCES if len(s) < 190}))
    assert len(sizes) > 2
    assert max(sizes) <= 200


def test_a_store_has_the_width_name_and_version_of_the_model(esmc, esm2, tmp_path):
    some = Proteins(sequences={"A": random_sequence(40), "B": random_sequence(1600)}, notes=())
    store = embed_proteins(some, tmp_path / "s", embedder=str(esmc), progress=False)
    assert (store.info.embedder, store.info.width, store.info.precision) == ("esmc_2x16", 16, "float32")
    assert store["B"].shape == (47, 16)
    shutil.copytree(esmc, tmp_path / "copy")
    assert load_embedder(str(tmp_path / "copy")).info == store.info
    assert load_embedder(str(esm2)).info.embedder == "esm_2x16"
    with pytest.raises(InputError, match=r"holds a store of esmc_2x16.*asked to write esm_2x16"):
        embed_proteins(some, tmp_path / "s", embedder=str(esm2), progress=False)


def test_bfloat16_is_near_and_said(esmc, tmp_path):
    exact, rough = (LanguageModel(str(esmc), precision=p) for p in ("float32", "bfloat16"))
    difference = np.abs(exact.embed_batch(SEQUENCES[-1:])[0] - rough.embed_batch(SEQUENCES[-1:])[0]).max()
    assert 0 < difference < 0.1
    assert exact.info != rough.info
    assert "bfloat16" in str(rough.info)


def test_a_model_with_a_head_gives_what_the_model_alone_gives(esmc, tmp_path):
    torch.manual_seed(2)
    whole = EsmcForMaskedLM(EsmcConfig(**ESMC))
    save(whole, EsmcTokenizer(), tmp_path / "whole")
    save(whole.esmc, EsmcTokenizer(), tmp_path / "alone")
    patches = [LanguageModel(str(tmp_path / n)).embed_batch(SEQUENCES[:4])[3] for n in ("whole", "alone")]
    assert np.array_equal(*patches)


def test_another_architecture_is_refused_by_name(tmp_path):
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=30)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"architecture 'bert'; expected ESM-C .*ppi import"):
        LanguageModel(str(tmp_path))


@pytest.fixture
def changed(esmc, tmp_path):
    """A copy of the model, of which a test changes the configuration."""
    shutil.copytree(esmc, tmp_path / "m")

    def change(**values):
        path = tmp_path / "m" / "config.json"
        config = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
        return str(tmp_path / "m")

    return change


def test_a_configuration_without_sizes_never_becomes_the_largest_model(changed):
    with pytest.raises(InputError, match="says nothing of hidden_size, num_hidden_layers"):
        LanguageModel(changed(hidden_size=None, num_hidden_layers=None, d_model=960))


def test_absolute_positions_are_refused(changed):
    with pytest.raises(InputError, match=r"positions for 1026 tokens; .*ESM-2"):
        LanguageModel(changed(model_type="esm", position_embedding_type="absolute", max_position_embeddings=1026))


def test_weights_that_are_not_all_there_are_refused(changed):
    with pytest.raises(InputError, match=r"\d+ weights of the model are not in its files, e\.g\. layers\.2"):
        LanguageModel(changed(num_hidden_layers=3))


def test_weights_of_another_size_are_refused(changed):
    with pytest.raises(InputError, match=r"couldn't be loaded|not in its files"):
        LanguageModel(changed(hidden_size=32))


def test_a_folder_without_a_model_or_with_half_of_one_is_refused(esmc, tmp_path):
    with pytest.raises(InputError, match="no language model here"):
        LanguageModel(str(tmp_path))
    shutil.copytree(esmc, tmp_path / "m")
    whole = (tmp_path / "m" / "model.safetensors").read_bytes()
    (tmp_path / "m" / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(InputError, match="couldn't be loaded"):
        LanguageModel(str(tmp_path / "m"))
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights .* are missing"):
        LanguageModel(str(tmp_path / "m"))
    (tmp_path / "m" / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1-of-2.safetensors"}}')
    with pytest.raises(InputError, match=r"weights .* are missing"):
        LanguageModel(str(tmp_path / "m"))


def test_a_letter_that_the_tokenizer_does_not_know_is_refused(esmc):
    with pytest.raises(InputError, match="one known token for each residue"):
        LanguageModel(str(esmc)).embed_batch(["ACDJ"])


def test_an_unknown_device_and_precision_are_refused(esmc):
    with pytest.raises(InputError, match=r"device is 'gpu9'.*Expected auto, cpu or cuda"):
        LanguageModel(str(esmc), device="gpu9")
    with pytest.raises(InputError, match="precision is 'float16'; expected one of float32, bfloat16"):
        LanguageModel(str(esmc), precision="float16")


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A Hub at an address where nobody listens, and an empty cache."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


WAYS_ON = r"esmc_300m: the model biohub/ESMC-300M-hf .*--embedder FOLDER.*hf download biohub/ESMC-300M-hf.*profile"


def test_a_hub_that_is_not_reached_gives_the_three_ways_on(no_hub):
    with pytest.raises(InputError, match=WAYS_ON):
        load_embedder("esmc_300m")


def test_so_does_the_offline_mode(no_hub, monkeypatch):
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE is set\)\. There are three"):
        load_embedder("esmc_300m")


def test_a_hub_that_never_answers_is_given_up(no_hub, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(language_model, "_PATIENCE", 0.01)
        with pytest.raises(InputError, match=WAYS_ON):
            find_model("esmc_300m")


def test_a_model_that_was_downloaded_before_needs_no_hub(no_hub, esmc, tmp_path):
    snapshot = tmp_path / "cache" / "models--biohub--ESMC-300M-hf" / "snapshots" / ("0" * 40)
    shutil.copytree(esmc, snapshot)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    assert find_model("esmc_300m") == snapshot
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(InputError, match=WAYS_ON):
        find_model("esmc_300m")
