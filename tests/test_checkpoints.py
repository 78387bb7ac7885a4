"""Checkpoints: every documented layout gives what its makers' model computes; every fault is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from poma3d.checkpoint_layouts import shapes_of
from poma3d.checkpoints import load_encoder, save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import PRESETS, EncoderConfig
from poma3d.errors import FileError
from poma3d.weights import weights_sha256

TINY = EncoderConfig(image_size=32, patch_size=8, width=32, depth=2, heads=2, mlp_width=64, embedding=16)
GEO = "vision_model.embeddings.geo_embedding.weight"
RGB = "vision_model.embeddings.patch_embedding.weight"
ONE_LAYER = "vision_model.encoder.layers.1.mlp.fc1"


def points(size: int) -> Tensor:
    return torch.randn(2, size, size, 3, generator=torch.Generator().manual_seed(0)) * 3


def tiny_weights(seed: int = 0) -> dict[str, Tensor]:
    return PointMapEncoder(TINY, seed=seed).weights()


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def with_lora(weights: dict[str, Tensor], rank: int = 4, name: str = ".default") -> dict[str, Tensor]:
    """The weights as peft saves them with an adapter on one layer."""
    torch.manual_seed(3)
    tensors = dict(weights)
    tensors[f"{ONE_LAYER}.base_layer.weight"] = tensors.pop(f"{ONE_LAYER}.weight")
    tensors[f"{ONE_LAYER}.base_layer.bias"] = tensors.pop(f"{ONE_LAYER}.bias")
    tensors[f"{ONE_LAYER}.lora_A{name}.weight"] = torch.randn(rank, 32)
    tensors[f"{ONE_LAYER}.lora_B{name}.weight"] = torch.randn(64, rank)
    return tensors


def load_tiny(path: Path, **options: Any) -> PointMapEncoder:
    return load_encoder(path, config=TINY, **options)


# The published layouts in their real shapes, beside the models that define them


@pytest.fixture(scope="module")
def published() -> Any:
    """FG-CLIP's class at its real size (its text tower cut short: no layout reads it) under POMA-3D's LoRA.

    The values are those of float16, so that files can be half as large and lose nothing.
    """
    torch.manual_seed(0)
    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 99}
    text |= {"intermediate_size": 64, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(text_config=text, vision_config={"patch_size": 16}, projection_dim=512)
    lora = LoraConfig(
        r=32,
        lora_alpha=64,
        lora_dropout=0.05,
        bias="none",
        task_type="FEATURE_EXTRACTION",
        target_modules=["q_proj", "v_proj", "k_proj", "fc1", "fc2"],
    )
    model = get_peft_model(CLIPModel(config), lora).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.01)
            parameter.copy_(parameter.half().float())
    return model


def published_features(model: Any, *, adapters: bool) -> Tensor:
    """What the makers' class says of two views."""
    pixels = points(224).movedim(-1, 1)
    with torch.inference_mode():
        if adapters:
            return model.base_model.model.get_image_features(pixels).pooler_output
        with model.disable_adapter():
            return model.base_model.model.get_image_features(pixels).pooler_output


def plain(model: Any) -> dict[str, Tensor]:
    """The state of the wrapped model without its adapters, by FG-CLIP's names, in float16."""
    return {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): tensor.half()
        for name, tensor in model.state_dict().items()
        if "lora_" not in name
    }


def fgclip_folder(model: Any, folder: Path) -> Path:
    save_file(plain(model), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(model.base_model.model.config.to_json_string())
    return folder


def uniscene3d_folder(model: Any, folder: Path) -> Path:
    """An Accelerate save-state folder of the follow-up's pretraining, which saves in two shards."""
    folder = folder / "ckpt_20.pth"
    folder.mkdir()
    trained = plain(model)
    trained[GEO] = trained[RGB]
    trained[RGB] = torch.zeros_like(trained[RGB])
    state = prefixed("pm_encoder.", trained) | {"frozen_model.vision_model.pre_layrnorm.bias": torch.ones(2)}
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[:70], "model-00002-of-00002.safetensors": names[70:]}
    for file, keys in shards.items():
        save_file({key: state[key] for key in keys}, folder / file)
    index = {"weight_map": {key: file for file, keys in shards.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "random_states_0.pkl").write_bytes(b"not weights")
    return folder


def poma3d_state(model: Any) -> dict[str, Tensor]:
    target = {name: tensor.half() for name, tensor in model.state_dict().items()}
    context = {"base_model.model.vision_model.pre_layrnorm.bias": torch.ones(2)}
    return prefixed("target_model.", target) | prefixed("context_model.", context)


def poma3d_folder(model: Any, folder: Path) -> Path:
    save_file(poma3d_state(model), folder / "model.safetensors")
    torch.save({"lr": 1.0}, folder / "optimizer.bin")
    return folder


def poma3d_pth(model: Any, folder: Path) -> Path:
    torch.save({"model": poma3d_state(model), "epoch": 20}, folder / "poma3d.pth")
    return folder / "poma3d.pth"


@pytest.mark.parametrize(
    ("write", "adapters"),
    [(fgclip_folder, False), (uniscene3d_folder, False), (poma3d_folder, True), (poma3d_pth, True)],
)
def test_published_layouts_give_what_their_makers_model_computes(
    published: Any, write: Callable[[Any, Path], Path], adapters: bool, tmp_path: Path
) -> None:
    path = write(published, tmp_path)
    encoder = load_encoder(path)
    for file in [*tmp_path.rglob("*.safetensors"), *tmp_path.rglob("poma3d.pth")]:
        file.unlink()  # hundreds of megabytes, which pytest would keep
    assert encoder.config == PRESETS["base"]
    with torch.inference_mode():
        ours = encoder(points(224)).cls
    theirs = published_features(published, adapters=adapters)
    assert torch.allclose(ours, theirs, atol=2e-4)
    assert not torch.allclose(ours, published_features(published, adapters=not adapters), atol=1e-2)


def test_shapes_are_those_of_transformers() -> None:
    with torch.device("meta"):
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=16))
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes_of(PRESETS["base"]) == expected


# Which tower, which embedding, which alpha


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts")


PREFIXES = ["model.", "module.", "target_model.", "context_model.", "pm_encoder.", "base_model.model."]


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


# Our own format


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


# Faults, each named


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    tensors = tiny_weights()
    for name, tensor in changes.items():
        name = name.replace("__", ".")
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = tensor
    return tensors


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (changed(visual_projection__weight=None), ["missing (1): visual_projection.weight"]),
        (changed(vision_model__pre_layrnorm__bias=None), ["missing (1): vision_model.pre_layrnorm.bias"]),
        (
            changed(vision_model__embeddings__class_embedding=None),
            ["vision_model.embeddings.class_embedding"],
        ),
        (changed(vision_model__wing__weight=torch.ones(1)), ["unexpected (1): vision_model.wing.weight"]),
        (
            changed(visual_projection__weight=torch.ones(4, 32)),
            ["another shape", "visual_projection.weight (4, 32) instead of (16, 32)"],
        ),
        (
            changed(vision_model__pre_layrnorm__bias=torch.full((32,), torch.nan)),
            ["NaN or infinite: vision_model.pre_layrnorm.bias"],
        ),
        ({"resnet.weight": torch.ones(1)}, ["no CLIP vision tower", "resnet.weight"]),
        (
            {k: v for k, v in with_lora(tiny_weights()).items() if "lora_B" not in k},
            ["without", f"{ONE_LAYER}.lora_B.weight"],
        ),
        (
            {k: v for k, v in with_lora(tiny_weights()).items() if "lora_" in k},
            ["without", f"{ONE_LAYER}.base_layer.weight"],
        ),
        (
            with_lora(tiny_weights()) | with_lora(tiny_weights(), name=".other"),
            ["more than one LoRA adapter"],
        ),
        (
            with_lora(tiny_weights()) | {f"{ONE_LAYER}.lora_A.default.weight": torch.ones(4, 9)},
            ["change of (64, 9) to a weight of (64, 32)"],
        ),
        (
            prefixed("a.", tiny_weights()) | prefixed("b.", tiny_weights(1)),
            ["several encoder towers: a., b."],
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, tensors: dict[str, Tensor], says: list[str]
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    with pytest.raises(FileError) as error:
        load_tiny(path)
    assert str(path) in str(error.value)
    assert all(part in str(error.value) for part in says), str(error.value)


def test_a_tower_cut_short_is_not_taken_for_a_shallow_one(tmp_path: Path) -> None:
    tensors = {k: v for k, v in tiny_weights().items() if ".layers.1." not in k}
    (tmp_path / "config.json").write_text(
        json.dumps({"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32}
                   | {"patch_size": 8, "intermediate_size": 64, "projection_dim": 16})
    )  # fmt: skip
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(
        FileError, match=r"missing \(16\): vision_model\.encoder\.layers\.1\.layer_norm1\.bias"
    ):
        load_encoder(tmp_path)


class Burglar:
    """Pickles to a call that writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "broken_in"
    torch.save({"model": tiny_weights(), "args": Burglar(mark)}, tmp_path / "evil.pth")
    with pytest.raises(FileError, match=r"\((?i:unsupported) .*never run") as refused:
        load_tiny(tmp_path / "evil.pth")
    assert "weights_only" not in str(refused.value), "torch's advice to run it all the same is not handed on"
    assert not mark.exists()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    save_encoder(PointMapEncoder(TINY), own)
    whole = own.read_bytes()
    torch.save(tiny_weights(), tmp_path / "whole.pth")
    faults = {
        "cut.safetensors": whole[:-100],
        "empty.safetensors": b"",
        "flipped.safetensors": whole[:-101] + bytes([whole[-101] ^ 64]) + whole[-100:],
        "text.safetensors": b"<html>not found</html>",
        "cut.pth": (tmp_path / "whole.pth").read_bytes()[:5000],
        "empty.pth": b"",
        "text.pth": b"version https://git-lfs.github.com/spec/v1",
        "other.safetensors": whole.replace(b"poma3d.encoder/1", b"poma3d.encoder/9"),
    }
    for name, content in faults.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(FileError, match=name.replace(".", r"\.")):
            load_encoder(path)


def test_of_a_pretrainings_folder_the_encoder_is_loaded(tmp_path: Path) -> None:
    sha = save_encoder(PointMapEncoder(TINY), tmp_path / "encoder.safetensors")
    save_file(tiny_weights(), tmp_path / "text.safetensors")
    assert load_encoder(tmp_path).weights_sha256() == sha


def test_folders_without_the_one_obvious_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no weights"):
        load_encoder(tmp_path)
    torch.save({}, tmp_path / "a.pth")
    torch.save({}, tmp_path / "b.pth")
    with pytest.raises(FileError, match=r"several checkpoints \(a\.pth, b\.pth\)"):
        load_encoder(tmp_path)
    save_file(tiny_weights(), tmp_path / "model.safetensors")
    save_file(tiny_weights(), tmp_path / "model_1.safetensors")
    with pytest.raises(FileError, match="another file holds too"):
        load_tiny(tmp_path)
    index = {"weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileError, match="not there: model-00001-of-00002"):
        load_tiny(tmp_path)


def test_what_is_not_here_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="fg-clip-base, poma3d, uniscene3d"):
        load_encoder(tmp_path / "nothing.pth")
    asked = []

    def offline(name: str, **_: Any) -> str:
        asked.append(name)
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    for name in ("fg-clip-base", "owner/model"):
        with pytest.raises(FileError, match=r"no network.*config\.json and model\.safetensors"):
            load_encoder(name)
    assert asked == ["qihoo360/fg-clip-base", "owner/model"]
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(tmp_path))
    save_file(tiny_weights(), tmp_path / "model.safetensors")
    assert load_encoder("owner/model", config=TINY).weights_sha256() == weights_sha256(tiny_weights())
