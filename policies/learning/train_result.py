"""What a training came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


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
