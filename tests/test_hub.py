import json

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard

import ppi_lib.hub
from ppi_lib.checkpoint import Checkpoint, create_ppi_classifier, save_checkpoint
from ppi_lib.encoder import ModelConfig
from ppi_lib.errors import InputError
from ppi_lib.hub import LIMITS, fetch, load_published, publish_checkpoint
from ppi_lib.lora import add_lora
from ppi_lib.model import PPIClassifier
from ppi_lib.store import StoreInfo

METRICS = {"test AUROC": 0.6704, "test AUPRC": "0.659 [0.642, 0.676]"}


@pytest.fixture
def checkpoint(tiny) -> Checkpoint:
    return Checkpoint(create_ppi_classifier(config=tiny), StoreInfo("profile", "1", 960), 0.41, {"dataset": "bernett"})


def same_weights(first, second) -> bool:
    other = second.state_dict()
    return first.state_dict().keys() == other.keys() and all(
        torch.equal(v, other[k]) for k, v in first.state_dict().items()
    )


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_a_model_alone_goes_out_and_in(checkpoint, tmp_path):
    checkpoint.model.save_pretrained(tmp_path)
    model = PPIClassifier.from_pretrained(tmp_path)
    assert same_weights(model, checkpoint.model)
    assert model.config == checkpoint.model.config
    assert not model.training
    assert "Not stated." in (tmp_path / "README.md").read_text()


def test_a_folder_that_training_left_is_a_pretrained_model(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path)
    assert same_weights(PPIClassifier.from_pretrained(str(tmp_path)), checkpoint.model)


def test_what_is_published_is_loaded(checkpoint, tmp_path):
    assert publish_checkpoint(checkpoint, tmp_path / "mine", metrics=METRICS) == tmp_path / "mine"
    loaded = load_published(tmp_path / "mine")
    assert loaded[1:] == checkpoint[1:]
    assert same_weights(loaded.model, checkpoint.model)
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["provenance"] == {"dataset": "bernett"}


def test_the_card_has_data_metrics_and_limits(checkpoint, tmp_path):
    publish_checkpoint(checkpoint, tmp_path / "mine", metrics=METRICS, limits=["Human proteins only."])
    card = ModelCard.load(tmp_path / "mine" / "README.md")
    assert card.data.library_name == "ppi_lib"
    assert "protein-protein-interaction" in card.data.tags
    for text in (
        "# mine",
        "\nbernett\n",
        "`profile` version 1, 960 wide, patches of 32 residues. Residues after the 1,502th",
        "| test AUROC | 0.670 |\n| test AUPRC | 0.659 [0.642, 0.676] |",
        "| threshold of the probability (fixed on validation pairs) | 0.410 |",
        "- Human proteins only.",
        LIMITS[0],
        f"{sum(p.numel() for p in checkpoint.model.parameters()):,} parameters",
    ):
        assert text in card.text


def test_a_card_without_data_or_metrics_is_refused(checkpoint, tmp_path):
    with pytest.raises(InputError, match="metrics is empty"):
        publish_checkpoint(checkpoint, tmp_path / "mine", metrics={})
    with pytest.raises(InputError, match="data is empty"):
        publish_checkpoint(checkpoint._replace(provenance={}), tmp_path / "mine", metrics=METRICS)
    assert not (tmp_path / "mine").exists()


def test_a_readme_of_the_users_is_not_written_over(checkpoint, tmp_path):
    (tmp_path / "README.md").write_text("# My project")
    with pytest.raises(InputError, match=r"README\.md: a file that is no model card"):
        publish_checkpoint(checkpoint, tmp_path, metrics=METRICS)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_adapters_are_published_merged_and_beside(checkpoint, tmp_path):
    add_lora(checkpoint.model)
    publish_checkpoint(checkpoint, tmp_path, metrics=METRICS)
    assert (tmp_path / "adapters.safetensors").exists()
    assert (
        load_published(tmp_path).model.state_dict().keys() == PPIClassifier(checkpoint.model.config).state_dict().keys()
    )


def test_a_weight_that_does_not_fit_fails(checkpoint, tmp_path):
    checkpoint.model.head[0].weight.data.fill_(torch.nan)
    checkpoint.model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"head\.0\.weight holds NaN"):
        PPIClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize("place", ["owner/name", "runs/absent/model", "no such name"])
@pytest.mark.parametrize("load", [load_published, PPIClassifier.from_pretrained])
def test_without_a_network_the_way_out_is_said(place, load, offline):
    with pytest.raises(InputError, match=r"no such folder, and the Hub gave no repository.*HF_HUB_OFFLINE=1.*by hand"):
        load(place)


def test_what_is_asked_of_the_hub(checkpoint, tmp_path, monkeypatch):
    publish_checkpoint(checkpoint, tmp_path, metrics=METRICS)
    asked = {}

    def snapshot_download(repo_id, **options):
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(ppi_lib.hub, "snapshot_download", snapshot_download)
    assert load_published("owner/name", revision="v1").threshold == 0.41
    assert asked["repo_id"] == "owner/name"
    assert asked["revision"] == "v1"
    assert "model.safetensors" in asked["allow_patterns"]
    assert fetch("owner/name", local_files_only=True) == tmp_path
    assert asked["local_files_only"]


def test_pushing_sends_the_published_files_only(checkpoint, tmp_path, monkeypatch):
    calls = []

    class Api:
        def create_repo(self, repo_id, **options):
            calls.append((repo_id, options))

        def upload_folder(self, **options):
            calls.append(options)

    monkeypatch.setattr(ppi_lib.hub, "HfApi", Api)
    (tmp_path / "training.pt").write_bytes(b"private")
    publish_checkpoint(checkpoint, tmp_path, metrics=METRICS, repo_id="owner/name")
    assert calls[0] == ("owner/name", {"private": True, "exist_ok": True})
    assert "training.pt" not in calls[1]["allow_patterns"]
    assert 'load_published("owner/name")' in (tmp_path / "README.md").read_text()


def test_a_push_that_fails_says_so_and_keeps_the_folder(checkpoint, tmp_path, offline):
    with pytest.raises(InputError, match=r"'owner/name': not pushed .*hf auth login"):
        publish_checkpoint(checkpoint, tmp_path, metrics=METRICS, repo_id="owner/name")
    assert load_published(tmp_path).threshold == 0.41


def test_a_model_without_arguments_is_v5_for_the_mixin_too(tiny):
    with torch.device("meta"):
        assert PPIClassifier().config == ModelConfig()
