"""Attention of patches and words: torch's fused one, on a CPU always in float32.

torch's fused attention on a CPU has a slow backward pass in bfloat16: 17 ms forth and back for 64 views of 33 tokens
and 3 heads of 64, 7 in float32 (one core of an AMD EPYC, torch 2.13). So there bfloat16 queries, keys and values become
float32 for the attention alone, which is no less exact.

Shapes: N sequences, h heads, T tokens, d channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NAME = "poma3d"
"""What transformers knows it by, once it is registered."""


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, dropout: float = 0.0
) -> Tensor:
    """Values weighted by how queries and keys match.

    Args:
        query: (N, h, T, d); key and value alike.
        mask: what broadcasts to (N, h, T, T): bool, True where a token is seen, or what is added to the scores.
        dropout: of the weights.

    Returns:
        (N, h, T, d) in the type of ``query``.
    """
    if query.device.type != "cpu" or query.dtype == torch.float32:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    if mask is not None and mask.is_floating_point():
        mask = mask.float()
    with torch.autocast("cpu", enabled=False):
        mixed = functional.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attn_mask=mask, dropout_p=dropout
        )
    return mixed.to(query.dtype)


def register() -> str:
    """Make it known to transformers; returns `NAME`, to be given as ``attn_implementation``."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _of_transformers)
    return NAME


def _of_transformers(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: (N, h, T, d) in, (N, T, h, d) out. CLIP's scale is torch's, one over the root of d."""
    return attention(query, key, value, attention_mask, dropout=dropout).transpose(1, 2).contiguous(), None
