"""Policies side by side on one set of episodes: each beside its controls, with intervals."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.evaluation import Evaluation, evaluate
from benchmarks.machine import provenance
from benchmarks.navigation_run import NavigationRun
from benchmarks.workers import Misfortune
from policies.loading import SEEING, policy_label
from poma3d.errors import SettingError
from poma3d.files import write_text

CONTROLS = ("oracle", "random", "forward")
"""What an episode set allows at best, by chance, and by walking on: every table has them."""
_TAKEN = ("summary.json", "index.html")  # what lies beside the rows' folders


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
        policies: what `policies.loading.open_policy` takes, or ``NAME=`` before it; `CONTROLS` that are missing
            are added behind them.
        folder: holds ``POLICY/`` for each and `summary.json` with all rows.
        workers, videos, resume, overwrite, timeout, on_start, on_episode, on_misfortune: as in
            `benchmarks.evaluation.evaluate`.
        on_policy: told of each policy before it runs.
        on_evaluation: told of each policy's evaluation when it is done.

    Returns:
        What `summary.json` holds: ``rows`` of ``policy, control, measures, weights_sha256``, the settings
        without policy, versions, hardware and command.

    Raises:
        SettingError: two policies of one name, or a name that is no folder's.
        UserError: as `benchmarks.evaluation.evaluate`.
    """
    rows = []
    for name, spec in named_policies([*policies, *CONTROLS]).items():
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


def named_policies(policies: Sequence[str]) -> dict[str, str]:
    """Names of rows and folders, and the policies they stand for; what is given twice is taken once.

    Args:
        policies: what `policies.loading.open_policy` takes, or ``NAME=`` before it.

    Raises:
        SettingError: two policies of one name, or a name that no folder can have here.
    """
    named: dict[str, str] = {}
    for written in policies:
        name, spec = _name_and_policy(written)
        if not spec:
            raise SettingError(f"{written!r} names no policy: NAME=POLICY")
        if not name or "/" in name or name.startswith(".") or name in _TAKEN:
            raise SettingError(
                f"{name!r} of {written!r} is no name for a row and its folder; put another before it: NAME={spec}"
            )
        if named.setdefault(name, spec) != spec:
            others = {named[name], spec}.intersection(CONTROLS)
            raise SettingError(
                f"{name} is the name of a control, and of {written}; give it another: NAME=POLICY"
                if name in others
                else f"two policies have the name {name}: {named[name]} and {spec}; give one another: NAME={spec}"
            )
    return named


def _name_and_policy(written: str) -> tuple[str, str]:
    """The name of a row, given or the policy's own, and the policy. Files and folders may hold the sign as well."""
    name, equals, spec = written.partition("=")
    place = written.removeprefix(SEEING)
    if not equals or any(os.path.lexists(path) for path in (place, place.rpartition(":")[0]) if path):
        return policy_label(written), written
    return name, spec
