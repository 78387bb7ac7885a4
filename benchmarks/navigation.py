"""Policies side by side on one set of episodes: each beside its controls, with intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.evaluation import Evaluation, evaluate
from benchmarks.machine import provenance
from benchmarks.navigation_run import NavigationRun
from benchmarks.workers import Misfortune
from policies.loading import policy_label
from poma3d.errors import SettingError
from poma3d.files import write_text

CONTROLS = ("oracle", "random", "forward")
"""What an episode set allows at best, by chance, and by walking on: every table has them."""


def compare_policies(
    run: NavigationRun,
    policies: Sequence[str],
    folder: str | Path,
    *,
    workers: int = 1,
    videos: int = 0,
    resume: bool = True,
    overwrite: bool = False,
    timeout: float = 600.0,
    on_policy: Callable[[str], None] = lambda policy: None,
    on_evaluation: Callable[[Evaluation], None] = lambda evaluation: None,
    on_start: Callable[[int, int], None] = lambda total, done: None,
    on_episode: Callable[[dict[str, Any]], None] = lambda record: None,
    on_misfortune: Callable[[Misfortune], None] = lambda misfortune: None,
) -> dict[str, Any]:
    """Run policies on the same episodes; each gets a results folder of its own below ``folder``.

    Args:
        run: the episodes; its policy is replaced by each of ``policies``.
        policies: names; `CONTROLS` that are missing are added behind them.
        folder: holds ``POLICY/`` for each and `summary.json` with all rows.
        workers, videos, resume, overwrite, timeout, on_start, on_episode, on_misfortune: as in
            `benchmarks.evaluation.evaluate`.
        on_policy: told of each policy before it runs.
        on_evaluation: told of each policy's evaluation when it is done.

    Returns:
        What `summary.json` holds: ``rows`` of ``policy, control, measures, weights_sha256``, the settings
        without policy, versions, hardware and command.
    """
    specs = list(dict.fromkeys([*policies, *CONTROLS]))
    names = [policy_label(spec) for spec in specs]
    if len(set(names)) < len(names):
        raise SettingError(f"two policies have the same name: {', '.join(specs)}")
    if any("/" in name or name.startswith(".") for name in names):
        raise SettingError(f"a policy of a comparison is named without folders, found {', '.join(names)}")
    rows = []
    for spec, name in zip(specs, names, strict=True):
        on_policy(name)
        evaluation: Evaluation = evaluate(
            replace(run, policy=spec),
            Path(folder) / name,
            workers=workers,
            videos=videos,
            resume=resume,
            overwrite=overwrite,
            timeout=timeout,
            on_start=on_start,
            on_episode=on_episode,
            on_misfortune=on_misfortune,
        )
        on_evaluation(evaluation)
        summary = evaluation.summary
        kept = {key: summary[key] for key in ("measures", "weights_sha256", "retried", "failed")}
        rows.append({"policy": name, "control": name in CONTROLS, **kept})
    config = {key: value for key, value in run.as_config().items() if key not in ("policy", "policy_sha256")}
    comparison = {
        "rows": rows,
        "config": config,
        **provenance(),
    }
    write_text(Path(folder) / "summary.json", json.dumps(comparison, indent=2, allow_nan=False) + "\n")
    return comparison
