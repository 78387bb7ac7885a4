"""Every published layout of checkpoints, in its real shapes, gives what its makers' model computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tiny_checkpoints import GEO, RGB, points, prefixed
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from poma3d.checkpoint_layouts import shapes_of
from poma3d.checkpoints import load_encoder
from poma3d.encoder_config import PRESETS


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
