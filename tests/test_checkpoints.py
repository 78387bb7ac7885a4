"""Checkpoints: which tower, embedding and adapters are taken; what is saved comes back, and its hash names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_checkpoints import GEO, ONE_LAYER, RGB, TINY, load_tiny, points, prefixed, tiny_weights, with_lora
from torch import Tensor

from poma3d.checkpoint_layouts import shapes_of
from poma3d.checkpoints import load_encoder, save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError
from poma3d.weights import weights_sha256

PREFIXES = ["model.", "module.", "target_model.", "context_model.", "pm_encoder.", "base_model.model."]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PREFIXES), max_size=4).map("".join), st.sampled_from(["pth", "safetensors"]))
def test_any_nesting_of_prefixes_is_understood(scratch: Path, prefix: str, suffix: str) -> None:
    path = scratch / f"any.{suffix}"
    weights = tiny_weights()
    counter = {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    state = prefixed(prefix, weights | counter) | {"text_model.final_layer_norm.bias": torch.ones(1)}
    torch.save(state, path) if suffix == "pth" else save_file(state, path)
    assert load_tiny(path).weights_sha256() == weights_sha256(weights)


def test_the_moving_average_is_taken_unless_another_branch_is_asked_for(tmp_path: Path) -> None:
    target, context, frozen = tiny_weights(1), tiny_weights(2), tiny_weights(3)
    state = prefixed("target_model.", target) | prefixed("context_model.", context)
    save_file(state | prefixed("frozen_model.", frozen), tmp_path / "model.safetensors")
    assert load_tiny(tmp_path).weights_sha256() == weights_sha256(target)
    assert load_tiny(tmp_path, branch="context").weights_sha256() == weights_sha256(context)
    assert load_tiny(tmp_path, branch="frozen").weights_sha256() == weights_sha256(frozen)
    with pytest.raises(FileError, match=r"holds no encoder tower; found .*target \(target_model\.\)"):
        load_tiny(tmp_path, branch="encoder")


def test_point_maps_go_through_the_embedding_that_saw_point_maps(tmp_path: Path) -> None:
    weights = tiny_weights()
    geo = weights[RGB] + 1
    save_file(prefixed("pm_encoder.", weights | {GEO: geo}), tmp_path / "u.safetensors")
    assert torch.equal(load_tiny(tmp_path / "u.safetensors").weights()[RGB], geo)
    assert torch.equal(load_tiny(tmp_path / "u.safetensors", stem="rgb").weights()[RGB], weights[RGB])


@pytest.mark.parametrize("name", [".default", ""])
def test_lora_is_merged_with_the_alpha_that_is_known(tmp_path: Path, name: str) -> None:
    weights = tiny_weights()
    state = with_lora(weights, name=name)
    save_file(prefixed("base_model.model.", state), tmp_path / "model.safetensors")
    change = state[f"{ONE_LAYER}.lora_B{name}.weight"] @ state[f"{ONE_LAYER}.lora_A{name}.weight"]
    before = weights[f"{ONE_LAYER}.weight"]

    def merged(**options: Any) -> Tensor:
        return load_tiny(tmp_path, **options).weights()[f"{ONE_LAYER}.weight"] - before

    assert torch.allclose(merged(), 64 / 4 * change, rtol=1e-4, atol=1e-4)
    assert torch.allclose(merged(lora_alpha=8.0), 8 / 4 * change, rtol=1e-4, atol=1e-4)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 6, "use_rslora": True}))
    assert torch.allclose(merged(), 6 / 2 * change, rtol=1e-4, atol=1e-4)


def test_of_a_pretrainings_folder_the_encoder_is_loaded(tmp_path: Path) -> None:
    sha = save_encoder(PointMapEncoder(TINY), tmp_path / "encoder.safetensors")
    save_file(tiny_weights(), tmp_path / "text.safetensors")
    assert load_encoder(tmp_path).weights_sha256() == sha


def test_saving_and_loading_changes_nothing(tmp_path: Path) -> None:
    encoder = PointMapEncoder("mini", seed=4).eval()
    path = tmp_path / "deep" / "mini.safetensors"
    sha = save_encoder(encoder, path, notes={"seed": 4})
    again = load_encoder(path)
    assert again.config == encoder.config
    assert sha == encoder.weights_sha256() == again.weights_sha256()
    xyz = points(112)
    assert torch.equal(again(xyz).cls, encoder(xyz).cls)
    assert not again.training
    assert load_encoder(path.parent).weights_sha256() == sha  # a folder with nothing else
    assert load_encoder(path, mask_invalid=True).config.mask_invalid
    assert load_encoder(path, dtype=torch.bfloat16).weights()[RGB].dtype == torch.bfloat16


def test_a_plain_state_dict_is_read_with_its_shape_and_asked_for_it_without(tmp_path: Path) -> None:
    encoder = PointMapEncoder("mini", seed=4)
    torch.save(encoder.state_dict(), tmp_path / "mine.pth")
    found = load_encoder(tmp_path / "mine.pth", config=encoder.config)
    assert found.weights_sha256() == encoder.weights_sha256()
    with pytest.raises(
        FileError, match=r'shape of the preset mini: give config=.*PRESETS\["mini"\], or save with'
    ):
        load_encoder(tmp_path / "mine.pth")
    save_file(
        {f"vision_model.a{number}": torch.zeros(1) for number in range(99)}, tmp_path / "other.safetensors"
    )
    with pytest.raises(FileError, match=r"unexpected \(99\): .* and 87 more") as told:
        load_encoder(tmp_path / "other.safetensors")
    assert len(str(told.value)) < 3000


def test_other_programs_read_our_file_by_transformers_names(tmp_path: Path) -> None:
    encoder = PointMapEncoder("mini")
    save_encoder(encoder, tmp_path / "e.safetensors")
    tensors = load_file(tmp_path / "e.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == shapes_of(encoder.config)


def test_adapters_are_folded_in_when_saved_and_the_encoder_stays_as_it_was(tmp_path: Path) -> None:
    encoder = PointMapEncoder(TINY).eval().add_lora()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)
    xyz = points(32)
    before = encoder(xyz).cls
    save_encoder(encoder, tmp_path / "e.safetensors")
    assert torch.equal(encoder(xyz).cls, before)
    assert torch.allclose(load_encoder(tmp_path / "e.safetensors")(xyz).cls, before, atol=1e-5)


def test_the_hash_names_the_numbers_and_nothing_else(tmp_path: Path) -> None:
    weights = {name: tensor.half().float() for name, tensor in tiny_weights().items()}
    sha = weights_sha256(weights)
    assert weights_sha256(dict(reversed(weights.items()))) == sha
    assert weights_sha256({name: tensor.half() for name, tensor in weights.items()}) == sha
    save_encoder(PointMapEncoder.from_weights(TINY, weights), tmp_path / "h.safetensors", dtype=torch.float16)
    assert load_encoder(tmp_path / "h.safetensors").weights_sha256() == sha
    torch.save(weights, tmp_path / "h.pth")
    assert load_tiny(tmp_path / "h.pth").weights_sha256() == sha
    other = weights | {RGB: weights[RGB].clone()}
    other[RGB].view(-1)[5] += 1e-3
    renamed = {name + "x" * (name == RGB): tensor for name, tensor in weights.items()}
    flat = weights | {RGB: weights[RGB].flatten()}
    assert len({sha, *map(weights_sha256, (other, renamed, flat))}) == 4


def test_a_failed_save_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    sha = save_encoder(PointMapEncoder(TINY), path)
    sick = PointMapEncoder(TINY)
    with torch.no_grad():
        sick.clip.visual_projection.weight[0, 0] = float("nan")
    with pytest.raises(FileError, match=r"NaN or infinite: visual_projection\.weight"):
        save_encoder(sick, path)
    assert load_encoder(path).weights_sha256() == sha
    assert [file.name for file in tmp_path.iterdir()] == ["e.safetensors"]
