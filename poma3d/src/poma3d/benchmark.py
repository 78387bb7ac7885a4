"""Encoder throughput against a plain transformers CLIP vision model of the same shape, in the same run.

``python -m poma3d.benchmark`` prints a table; `compare` returns its rows. The two take turns, round after round,
so that whatever else the machine does hits both; of each the best round counts, which other programs disturbed
least. ``ratio`` is ours over plain: above 1 is faster.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from poma3d.encoder import PointMapEncoder
from poma3d.encoder_config import PRESETS, EncoderConfig
from poma3d.errors import SettingError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Row:
    """One comparison."""

    preset: str
    """The encoder's preset."""
    what: str
    """``forward``, without gradients, or ``forward+backward``."""
    images_per_second: float
    """Of our encoder, from point maps (N, H, W, 3) with validity, zeros and NaN handled."""
    plain_images_per_second: float
    """Of transformers' model, from ready pixels (N, 3, H, W)."""
    ratio: float
    """Ours over plain."""
    model_flops_share: float | None
    """Arithmetic of the network over what one large matrix product reaches here; None where not measured."""
    matrix_peak_tflops: float | None
    """What that product reaches, 10^12 operations a second; None where not measured."""
    batch: int
    """Images at once, N."""
    dtype: str
    """Of the weights: float32 or bfloat16."""
    device: str
    """As torch names it."""
    threads: int
    """Threads of torch on the CPU."""


def compare(
    preset: str = "mini",
    *,
    batch: int = 32,
    dtype: str = "float32",
    device: str = "cpu",
    rounds: int = 8,
    compiled: bool = False,
    peak: bool = False,
) -> list[Row]:
    """Time forward and forward+backward of a preset and of its plain counterpart.

    Args:
        preset: "base" or "mini".
        batch: images at once.
        dtype: of the weights of both, "float32" or "bfloat16".
        device: where both run.
        rounds: turns that each of the two takes.
        compiled: run both through ``torch.compile``.
        peak: also measure the matrix peak of the device, for ``model_flops_share``.

    Raises:
        SettingError: an unknown preset or dtype, or a batch or a number of rounds below 1.
    """
    if preset not in PRESETS:
        raise SettingError(f"unknown encoder preset {preset!r}; there are {', '.join(PRESETS)}")
    if dtype not in _DTYPES:
        raise SettingError(f"unknown dtype {dtype!r}; there are {', '.join(_DTYPES)}")
    if batch < 1 or rounds < 1:
        raise SettingError(f"batch and rounds must be at least 1, found {batch} and {rounds}")
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    place = torch.device(device)
    encoder = PointMapEncoder(preset).to(place, _DTYPES[dtype])
    size = encoder.config.image_size
    points = torch.randn(batch, size, size, 3, device=place)
    valid = points[..., 0] > -2
    points = points.masked_fill(~valid[..., None], 0.0)  # as simulators and readers give them
    pixels = points.movedim(-1, 1).to(_DTYPES[dtype]).contiguous()
    ours: Any = torch.compile(encoder) if compiled else encoder
    shape = CLIPVisionConfig.from_dict(encoder.clip.config.to_dict(), attn_implementation="sdpa")
    clip = CLIPVisionModelWithProjection(shape).to(place, _DTYPES[dtype])
    clip.load_state_dict(encoder.clip.state_dict())
    theirs: Any = torch.compile(clip) if compiled else clip

    def our_embedding() -> Tensor:
        return ours(points, valid).cls

    def plain_embedding() -> Tensor:
        return theirs(pixel_values=pixels).image_embeds

    def without_gradients(embed: Callable[[], Tensor]) -> Callable[[], None]:
        @torch.inference_mode()
        def run() -> None:
            embed()

        return run

    def with_gradients(embed: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            for model in (encoder, clip):
                model.zero_grad(set_to_none=True)
            embed().float().square().mean().backward()

        return run

    reached = _matrix_peak(place, _DTYPES[dtype]) if peak else None
    rows = []
    for what, wrap, passes in (("forward", without_gradients, 1), ("forward+backward", with_gradients, 3)):
        pair = (wrap(our_embedding), wrap(plain_embedding))
        turns = _take_turns(pair, rounds, place)
        mine, plain = (min(turn[which] for turn in turns) for which in (0, 1))
        share = passes * batch * forward_flops(encoder.config) / mine / reached if reached else None
        rows.append(
            Row(
                preset=preset,
                what=what,
                images_per_second=batch / mine,
                plain_images_per_second=batch / plain,
                ratio=plain / mine,
                model_flops_share=share,
                matrix_peak_tflops=reached / 1e12 if reached else None,
                batch=batch,
                dtype=dtype,
                device=torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
                threads=torch.get_num_threads(),
            )
        )
    return rows


def forward_flops(config: EncoderConfig) -> float:
    """Floating-point operations of the matrix products of one view's forward pass (a multiply-add counts two)."""
    T, C = 1 + config.patches, config.width
    layer = 4 * T * C * C + 2 * T * T * C + 2 * T * C * config.mlp_width
    patches = config.patches * 3 * config.patch_size**2 * C
    return 2.0 * (config.depth * layer + patches + C * config.embedding)


def _take_turns(pair: tuple[Callable[[], None], ...], rounds: int, place: torch.device) -> list[list[float]]:
    """Seconds of each of ``pair`` in each round, after one round that is not counted; who begins alternates."""
    turns = []
    for number in range(rounds + 1):
        seconds = [0.0, 0.0]
        for which in (0, 1) if number % 2 else (1, 0):
            _wait(place)
            start = time.perf_counter()
            pair[which]()
            _wait(place)
            seconds[which] = time.perf_counter() - start
        if number:
            turns.append(seconds)
    return turns


def _matrix_peak(place: torch.device, dtype: torch.dtype) -> float:
    """Operations a second that one large square matrix product reaches: the best of ten."""
    side = 8192 if place.type == "cuda" else 1536
    a = torch.randn(side, side, device=place, dtype=dtype)
    best = float("inf")
    for _ in range(10):
        _wait(place)
        start = time.perf_counter()
        torch.mm(a, a)
        _wait(place)
        best = min(best, time.perf_counter() - start)
    return 2.0 * side**3 / best


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def main() -> None:
    """Print the comparison of the presets that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m poma3d.benchmark", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), action="append", help="both where none is given")
    parser.add_argument("--batch", type=int, help="images at once (default: mini 32, base 4; on a GPU 256)")
    parser.add_argument("--dtype", choices=sorted(_DTYPES), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, help="threads of torch on the CPU")
    parser.add_argument("--compiled", action="store_true", help="run both through torch.compile")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    on_cpu = torch.device(options.device).type == "cpu"
    rows = []
    for name in options.preset or sorted(PRESETS):
        batch = options.batch or ({"mini": 32, "base": 4}[name] if on_cpu else 256)
        rows += compare(
            name,
            batch=batch,
            dtype=options.dtype,
            device=options.device,
            rounds=options.rounds,
            compiled=options.compiled,
            peak=True,
        )
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}))
        return
    reached = max(row.matrix_peak_tflops or 0.0 for row in rows)
    print(
        f"{rows[0].device}, {rows[0].dtype}, {rows[0].threads} CPU threads; one large matrix product reaches"
        f" {reached:.2f} TFLOP/s"
    )
    print(f"{'preset':8}{'what':18}{'batch':>6}{'images/s':>10}{'plain':>10}{'ratio':>8}{'of peak':>9}")
    for row in rows:
        print(
            f"{row.preset:8}{row.what:18}{row.batch:6}{row.images_per_second:10.1f}"
            f"{row.plain_images_per_second:10.1f}{row.ratio:8.2f}{row.model_flops_share:9.0%}"
        )


if __name__ == "__main__":
    main()
