"""Checkpoints that are damaged, cut short, evil or not there: each fault is named, and no code in them is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_checkpoints import ONE_LAYER, TINY, load_tiny, prefixed, tiny_weights, with_lora
from torch import Tensor

from poma3d.checkpoints import load_encoder, save_encoder
from poma3d.encoder import PointMapEncoder
from poma3d.errors import FileError
from poma3d.weights import weights_sha256


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
