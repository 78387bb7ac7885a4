"""Attention: the formula, masks, and no bfloat16 inside on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from poma3d.attention import attention


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator).to(dtype) for _ in range(3)]


def formula(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None) -> Tensor:
    """In float64: softmax(q k / sqrt(d)) v."""
    query, key, value = query.double(), key.double(), value.double()
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    return scores.softmax(-1) @ value


def test_float32_is_the_formula() -> None:
    query, key, value = drawn(2, 3, 7, 8)
    assert torch.allclose(attention(query, key, value).double(), formula(query, key, value), atol=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
def test_on_a_cpu_bfloat16_is_rounded_at_the_end_alone(autocast: bool) -> None:
    query, key, value = drawn(2, 3, 65, 16, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = attention(query, key, value)
    assert found.dtype == torch.bfloat16
    expected = formula(query, key, value)
    assert ((found.double() - expected).abs() <= 0.004 * expected.abs() + 1e-6).all()  # half a step of 8 bits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_masked_is_not_seen(dtype: torch.dtype) -> None:
    query, key, value = drawn(2, 3, 5, 8, dtype=dtype)
    seen = torch.tensor([True, True, False, True, False]).expand(2, 1, 1, 5)
    expected = formula(query, key, value, seen)
    added = torch.zeros(2, 1, 1, 5, dtype=dtype).masked_fill(~seen, -torch.inf)
    for mask in (seen, added):
        found = attention(query, key, value, mask)
        assert torch.allclose(found.double(), expected, atol=0.01 if dtype == torch.bfloat16 else 1e-6)


def test_gradients_flow_in_the_type_that_came_in() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in drawn(2, 3, 5, 8, dtype=torch.bfloat16))
    attention(query, key, value).float().square().sum().backward()
    for tensor in (query, key, value):
        assert tensor.grad is not None
        assert tensor.grad.dtype == torch.bfloat16
        assert tensor.grad.float().abs().max() > 0
