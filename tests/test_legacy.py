import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from ppi_lib.checkpoint import create_ppi_classifier
from ppi_lib.encoder import PRESETS, ModelConfig
from ppi_lib.errors import InputError


def torch_encoder(config: ModelConfig) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        config.width, config.heads, config.feedforward, dropout=0.0, batch_first=True, norm_first=True
    )
    encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False).eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.1 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5)
    return encoder


def old_weights(config: ModelConfig, prefix: str = "mae.encoder.") -> dict[str, torch.Tensor]:
    """Random weights under the names of v5's first implementation, with a decoder."""
    torch.manual_seed(0)
    weights = {f"{prefix}encoder.{name}": value for name, value in torch_encoder(config).state_dict().items()}
    return weights | {
        f"{prefix}patch_embed.weight": torch.randn(config.width, config.embedding_width) / 30,
        f"{prefix}patch_embed.bias": torch.randn(config.width),
        f"{prefix}pos_embed": torch.randn(1, config.max_residues, config.width),
        f"{prefix}cls_token": torch.randn(1, 1, config.width),
        f"{prefix}norm.weight": torch.rand(config.width) + 0.5,
        f"{prefix}norm.bias": torch.randn(config.width),
        "mae.mask_token": torch.randn(1, 1, 16),
        "mae.decoder.layers.0.linear1.weight": torch.randn(16, 16),
        "mae.decoder_pred.bias": torch.randn(16),
    }


def save(weights: dict, path: Path, **beside) -> Path:
    torch.save({"model_state_dict": weights, "epoch": 3, **beside}, path)
    return path


def load(path: Path, config: ModelConfig):
    with pytest.warns(UserWarning, match=r"3 weights are left out, as the autoencoder's decoder, e\.g\. mae\.decoder"):
        return create_ppi_classifier(path, config=config).eval()


def expected_tokens(weights: dict, config: ModelConfig, patches, lengths) -> torch.Tensor:
    """What torch's own modules make of the old weights."""
    own = {name.removeprefix("mae.encoder."): value for name, value in weights.items()}
    reference = torch_encoder(config)
    reference.load_state_dict({k.removeprefix("encoder."): v for k, v in own.items() if k.startswith("encoder.")})
    embedded = nn.functional.linear(patches, own["patch_embed.weight"], own["patch_embed.bias"])
    residue = torch.arange(config.max_residues)
    for i, length in enumerate(lengths.tolist()):
        for p in range(-(-length // 32)):
            embedded[i, p] += own["pos_embed"][0, (residue // 32 == p) & (residue < length)].mean(dim=0)
    x = torch.cat([own["cls_token"].expand(len(patches), 1, -1), embedded], dim=1)
    padding = torch.arange(-1, patches.shape[1]) * 32 >= lengths[:, None]
    out = reference(x, src_key_padding_mask=padding)
    out = nn.functional.layer_norm(out, (config.width,), own["norm.weight"], own["norm.bias"])
    return out.masked_fill(padding[..., None], 0)


@pytest.mark.parametrize("size", ["tiny", "v5"])
def test_an_old_checkpoint_gives_the_tokens_of_torchs_own_encoder(size, tiny, tmp_path):
    config = tiny if size == "tiny" else PRESETS["v5"]
    weights = old_weights(config)
    model = load(save(weights, tmp_path / "mae.pth"), config)
    assert model.config == replace(config, activation="relu")
    assert model.encoder.patch_embedding.standardises  # as the identity: it reads what it was trained on
    patches, lengths = torch.randn(3, 47, 960), torch.tensor([1502, 33, 1])
    with torch.no_grad():
        expected = expected_tokens(weights, config, patches, lengths)
        found = model.encoder(patches, lengths).masked_fill(expected == 0, 0)
    assert expected.abs().max() > 1
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("prefix", ["mae.encoder.", "encoder.", "mae.", ""])
@pytest.mark.parametrize("wrapped", [True, False])
def test_prefixes_and_a_bare_state_dict_make_no_difference(prefix, wrapped, tiny, tmp_path):
    weights = old_weights(tiny, prefix)
    path = tmp_path / "mae.pth"
    torch.save({"model_state_dict": weights} if wrapped else weights, path)
    model = load(path, tiny)
    assert torch.equal(model.encoder.position, weights[f"{prefix}pos_embed"][0])
    assert torch.equal(model.encoder.layers[1].attention.k_proj.weight, k_of(weights, f"{prefix}encoder.", 1))


def k_of(weights: dict, prefix: str, layer: int) -> torch.Tensor:
    return weights[f"{prefix}layers.{layer}.self_attn.in_proj_weight"].chunk(3)[1]


def test_other_names_of_the_same_parts_are_known(tiny, tmp_path):
    weights = {
        name.replace("patch_embed", "input_proj").replace("pos_embed", "position_embedding.weight"): value
        for name, value in old_weights(tiny).items()
    }
    model = load(save(weights, tmp_path / "mae.pth"), tiny)
    assert torch.equal(model.encoder.patch_embedding.bias, weights["mae.encoder.input_proj.bias"])


def test_a_model_can_be_built_at_the_checkpoints_sizes(tiny, tmp_path):
    v3 = save(old_weights(PRESETS["v3"]), tmp_path / "v3.pth")
    assert ModelConfig.from_checkpoint(v3) == replace(PRESETS["v3"], activation="relu")
    load(v3, ModelConfig.from_checkpoint(v3))
    other = save(old_weights(tiny), tmp_path / "tiny.pth")
    with pytest.raises(InputError, match=r"weights don't tell the number of heads.*2 layers of width 32.*pass heads="):
        ModelConfig.from_checkpoint(other)
    config = ModelConfig.from_checkpoint(other, heads=4)
    assert (config.width, config.layers, config.heads, config.feedforward) == (32, 2, 4, 64)
    load(other, config)


def test_an_encoder_of_other_sizes_is_refused_with_each_size_and_the_ways_on(tmp_path):
    path = save(old_weights(PRESETS["v3"]), tmp_path / "v3.pth")
    with pytest.raises(InputError) as caught:
        create_ppi_classifier(path)
    message = str(caught.value)
    assert "width 256, expected 768; layers 2, expected 12; heads (not in the file), expected 12" in message
    assert "feedforward 1024, expected 3072" in message
    assert "ppi pretrain" in message
    assert "ModelConfig.from_checkpoint(path)" in message
    assert "mae_checkpoint_path=None" in message


LAYER = "mae.encoder.encoder.layers"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda w: w.pop(f"{LAYER}.1.norm1.bias"), r"1 weights do not fit, layers\.1\.norm1\.bias is missing"),
        (lambda w: w.pop(f"{LAYER}.0.self_attn.in_proj_weight"), r"layers\.0\.self_attn\.in_proj_weight is missing"),
        (lambda w: [w.pop(k) for k in list(w) if f"{LAYER}.0." in k], r"12 weights.*layers\.0\.linear1\.bias is miss"),
        (lambda w: w.pop("mae.encoder.pos_embed"), "pos_embed or pos_embedding or position_embedding is missing"),
        (lambda w: w.update({"mae.encoder.extra": torch.ones(1)}), r"mae\.encoder\.extra has no place"),
        (lambda w: w.update({f"{LAYER}.0.gate": torch.ones(1)}), r"layers\.0\.gate has no place"),
        (lambda w: w.update({"norm.bias": torch.ones(32)}), r"norm\.bias and mae\.encoder\.norm\.bias are the same"),
        (lambda w: w[f"{LAYER}.0.linear1.weight"].fill_(torch.nan), r"feedforward\.linear1\.weight holds NaN"),
        (lambda w: w.update({f"{LAYER}.0.norm1.bias": torch.ones(5)}), r"norm1\.bias is \(5,\), expected \(32,\)"),
        (lambda w: w.update({f"{LAYER}.1.self_attn.in_proj_bias": torch.ones(95)}), r"v_proj\.bias is \(31,\)"),
        (lambda w: w.update({"mae.encoder.cls_token": torch.tensor(1.0)}), r"cls_token is \(1,\), expected \(32,\)"),
        (lambda w: w.update({"mae.encoder.pos_embed": torch.ones(1, 47, 32)}), "max_residues 47, expected 1502"),
    ],
)
def test_a_weight_that_does_not_fit_fails_by_name(edit, message, tiny, tmp_path):
    weights = old_weights(tiny)
    edit(weights)
    with pytest.raises(InputError, match=message):
        create_ppi_classifier(save(weights, tmp_path / "mae.pth"), config=tiny)


class Trap:
    """Unpickled by pickle it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "beside"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_pickle_is_refused_and_not_run(kind, tiny, tmp_path):
    path, trapped = tmp_path / "mae.pth", tmp_path / "trapped"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Trap(trapped)))
    elif kind == "beside":
        save(old_weights(tiny), path, args=Trap(trapped))
    else:
        torch.save({"model_state_dict": Trap(trapped)}, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(InputError, match=r"not opened, since it.*Save the model's state_dict alone") as caught:
        create_ppi_classifier(path, config=tiny)
    assert not trapped.exists()
    assert "weights_only" not in str(caught.value)  # torch's own advice would run the code


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds a list of no weights"),
        ({}, "holds a dict of no weights"),
        ({"model": {"a": torch.ones(1)}, "epoch": 3}, "model, epoch are no weights"),
        ({"model_state_dict": {3: torch.ones(1)}}, "3 are no weights"),
    ],
)
def test_a_file_of_something_else_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "mae.pth")
    with pytest.raises(InputError, match=f"{message}; expected weights by name"):
        create_ppi_classifier(tmp_path / "mae.pth")


def test_a_damaged_or_absent_file_is_refused(tiny, tmp_path):
    path = save(old_weights(tiny), tmp_path / "mae.pth")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"mae\.pth: not a whole checkpoint .*Copy it again"):
            create_ppi_classifier(path)
    with pytest.raises(InputError, match=r"absent\.pth: there is no such file"):
        create_ppi_classifier(tmp_path / "absent.pth")
    (tmp_path / "mae.ckpt").write_bytes(whole)
    with pytest.raises(InputError, match=r"ends with '\.ckpt'; expected a folder, \.safetensors, \.pth or \.pt"):
        create_ppi_classifier(tmp_path / "mae.ckpt")
