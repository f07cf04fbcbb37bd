import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ppi_lib.checkpoint import (
    Checkpoint,
    create_ppi_classifier,
    load_checkpoint,
    read_weights,
    save_checkpoint,
    save_encoder,
    write_weights,
)
from ppi_lib.encoder import Patches
from ppi_lib.errors import InputError
from ppi_lib.lora import add_lora, has_adapters, load_lora, merge_lora, save_lora
from ppi_lib.store import StoreInfo


def adapters(model) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if ".lora_" in name}


def trained(config, **options):
    """A model whose adapters have learned something: their B is not zero."""
    model = add_lora(create_ppi_classifier(config=config), **options)
    torch.manual_seed(1)
    for name, parameter in adapters(model).items():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def proteins() -> tuple[Patches, Patches]:
    generator = torch.Generator().manual_seed(0)
    return tuple(Patches(torch.randn(2, 3, 960, generator=generator), torch.tensor([70, 96])) for _ in range(2))


def test_v5_gets_147_456_adapter_parameters_on_q_and_v_of_its_encoder():
    model = create_ppi_classifier(use_lora=True, freeze_encoder=False)
    found = adapters(model)
    assert sum(p.numel() for p in found.values()) == 147_456
    assert {name.split(".")[4] for name in found} == {"q_proj", "v_proj"}
    assert {name.split(".")[2] for name in found} == {str(i) for i in range(12)}
    assert all(name.startswith("encoder.layers.") for name in found)


def test_adapters_start_as_the_identity_and_then_change_the_output(tiny, proteins):
    plain = create_ppi_classifier(config=tiny).eval()
    fresh = create_ppi_classifier(config=tiny, use_lora=True, freeze_encoder=False).eval()
    assert torch.equal(fresh(*proteins), plain(*proteins))
    assert (trained(tiny)(*proteins) - plain(*proteins)).abs().min() > 1e-4


def test_only_adapters_cross_attention_and_head_get_gradients(tiny, proteins):
    model = trained(tiny).train()
    model(*proteins).sum().backward()
    got = {name for name, p in model.named_parameters() if p.grad is not None}
    outside = {name for name, _ in model.named_parameters() if not name.startswith("encoder.")}
    idle = {name for name in outside if name.endswith("k_proj.bias")}  # cancelled by the softmax
    assert got == outside - idle | adapters(model).keys()
    assert all(model.get_parameter(name).requires_grad for name in outside)
    assert all(model.get_parameter(name).grad.any() for name in adapters(model))


def test_merged_and_unmerged_agree_and_the_merged_model_is_a_plain_one(tiny, proteins):
    model = trained(tiny)
    before = model(*proteins)
    assert merge_lora(model) is model
    assert (model(*proteins) - before).abs().max() < 1e-5
    assert not has_adapters(model)
    plain = create_ppi_classifier(config=tiny)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert {type(m) for m in model.modules()} == {type(m) for m in plain.modules()}
    assert not any(p.requires_grad for p in model.encoder.parameters())
    add_lora(model)


def test_saved_and_loaded_adapters_agree_exactly(tiny, proteins, tmp_path):
    model = trained(tiny, rank=3, alpha=8, dropout=0.1)
    save_lora(model, tmp_path / "adapters.safetensors")
    assert load_file(tmp_path / "adapters.safetensors").keys() == {n.removeprefix("encoder.") for n in adapters(model)}
    loaded = load_lora(create_ppi_classifier(config=tiny), tmp_path / "adapters.safetensors").eval()
    assert torch.equal(loaded(*proteins), model(*proteins))
    assert loaded.encoder.peft_config["default"].lora_dropout == 0.1


def test_seed_rank_and_alpha_do_what_they_say(tiny, proteins):
    first, again, other = (adapters(add_lora(create_ppi_classifier(config=tiny), seed=s)) for s in (1, 1, 2))
    name = next(iter(first))
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])
    assert sum(p.numel() for p in adapters(trained(tiny, rank=7)).values()) == 2 * 2 * 7 * (32 + 32)
    changed = [trained(tiny, alpha=alpha).encoder(*proteins[0]) for alpha in (1e-9, 16, 32)]
    assert torch.allclose(changed[0], create_ppi_classifier(config=tiny).encoder(*proteins[0]), atol=1e-6)
    assert not torch.allclose(changed[1], changed[2], atol=1e-3)


def test_the_global_random_state_is_left_alone(tiny):
    model = create_ppi_classifier(config=tiny)
    before = torch.random.get_rng_state()
    add_lora(model)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_checkpoint_is_saved_merged_with_the_adapters_beside_it(tiny, proteins, tmp_path):
    model = trained(tiny)
    checkpoint = Checkpoint(model, StoreInfo("profile", "1", 960), 0.5, {})
    save_checkpoint(checkpoint, tmp_path)
    assert has_adapters(model)
    loaded = load_checkpoint(tmp_path).model
    assert not has_adapters(loaded)
    assert (loaded(*proteins) - model(*proteins)).abs().max() < 1e-5
    again = load_lora(create_ppi_classifier(config=tiny), tmp_path / "adapters.safetensors").eval()
    assert torch.equal(again.encoder(*proteins[0]), model.encoder(*proteins[0]))
    save_checkpoint(checkpoint._replace(model=merge_lora(model)), tmp_path)
    assert not (tmp_path / "adapters.safetensors").exists()


def test_an_encoder_is_saved_merged(tiny, proteins, tmp_path):
    model = trained(tiny)
    save_encoder(model.encoder, tmp_path, StoreInfo("profile", "1", 960))
    loaded = create_ppi_classifier(tmp_path, config=tiny).encoder
    assert (loaded(*proteins[0]) - model.encoder(*proteins[0])).abs().max() < 1e-5


def test_adapters_of_another_encoder_are_refused(tiny, tmp_path):
    path = tmp_path / "adapters.safetensors"
    save_lora(trained(tiny), path)
    other = create_ppi_classifier(config=tiny, seed=1)
    standardised = create_ppi_classifier(config=tiny)
    standardised.encoder.patch_embedding.set_standardisation(torch.ones(960), torch.ones(960))
    for model in (other, standardised, create_ppi_classifier(config=replace(tiny, layers=1))):
        with pytest.raises(InputError, match=r"made for the encoder .*; the model's is .*Build the model"):
            load_lora(model, path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t, _: t.pop(next(iter(t))), "is missing"),
        (lambda t, _: t.update(extra=torch.ones(1)), "extra has no place"),
        (lambda t, _: next(iter(t.values())).fill_(torch.nan), "holds NaN"),
        (lambda _, about: about.update(rank=5), r"is \(4, 32\), expected \(5, 32\)"),
        (lambda _, about: about.clear(), "no adapters. Write them with save_lora"),
    ],
)
def test_adapters_that_do_not_fit_are_refused_and_leave_the_model_plain(edit, message, tiny, tmp_path):
    path = tmp_path / "adapters.safetensors"
    save_lora(trained(tiny), path)
    tensors, about = read_weights(path)
    edit(tensors, about)
    write_weights(path, tensors, about)
    model = create_ppi_classifier(config=tiny)
    with pytest.raises(InputError, match=message):
        load_lora(model, path)
    assert model.state_dict().keys() == create_ppi_classifier(config=tiny).state_dict().keys()


def test_what_cannot_be_done_is_said(tiny, tmp_path):
    plain, adapted = create_ppi_classifier(config=tiny), trained(tiny)
    save_lora(adapted, tmp_path / "a.safetensors")
    for call in (add_lora, lambda model: load_lora(model, tmp_path / "a.safetensors")):
        with pytest.raises(InputError, match=r"has adapters already.*merge_lora"):
            call(adapted)
    for call in (merge_lora, lambda model: save_lora(model, tmp_path / "b.safetensors")):
        with pytest.raises(InputError, match=r"no adapters.*add_lora"):
            call(plain)
    for bad in ({"rank": 0}, {"alpha": 0}, {"dropout": 1.0}):
        with pytest.raises(InputError, match="expected rank 1 or more, alpha above 0 and dropout from 0 to below 1"):
            add_lora(copy.deepcopy(plain), **bad)
    with pytest.raises(InputError, match="there is no such file"):
        load_lora(plain, tmp_path / "absent.safetensors")
