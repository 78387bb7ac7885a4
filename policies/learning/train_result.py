"""What a training came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class TrainResult:
    """What a training came to."""

    folder: Path
    """The policy's folder."""
    measures: dict[str, float] = field(default_factory=dict)
    """The evaluation of the policy that was kept."""
    weights_sha256: str = ""
    """Of that policy."""
    steps: int = 0
    """Environment steps taken."""
    stopped: str | None = None
    """Why training ended early; None where it did not."""

    @classmethod
    def of(cls, folder: Path, best: Mapping[str, Any], steps: int, stopped: str | None) -> TrainResult:
        """The result where ``best`` is what a checkpoint says of the policy kept; empty where none was."""
        return cls(folder, dict(best.get("measures", {})), best.get("sha256", ""), steps, stopped)
