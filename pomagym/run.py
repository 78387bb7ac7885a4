"""`pomagym run`: run navigation episodes with a policy; writes results, video, 3D recording."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from pomagym.navigation_flags import NavigationFlags


@dataclass(frozen=True)
class _Who:
    """Comes first in the help, before the flags that the commands share."""

    policy: str = "oracle"
    """oracle (knows the shortest path), planner (maps what it sees and plans on it), planner+ENCODER (in ObjectNav it
    recognises objects through that encoder: planner+poma3d-mini; its control: planner+random), random, forward,
    pointnav-mini (trained, comes with the package), the folder of one that pomagym train made, or a class of your
    own with reset and act: FILE.py:CLASS or MODULE:CLASS, such as examples/own_policy.py:TowardsGoal."""


@dataclass(frozen=True)
class Config(NavigationFlags, _Who):
    """Run navigation episodes with a policy and score them with Habitat's measures.

    Writes a results folder: episodes.jsonl (a line an episode), summary.json (means with 95 % intervals),
    videos, recording.rrd. A run that was stopped goes on where it was when the same command is given again.

    For example:

        pomagym run --scene procedural:val:5 --episodes 20 --policy oracle --videos 3
        pomagym run --scene house.glb --episodes val.json.gz --policy random --workers 4
        pomagym run --policy examples/own_policy.py:TowardsGoal --episodes 20
        pomagym run --task objectnav --episodes val.json.gz --scenes-dir data/scene_datasets --json
        pomagym run --task objectnav --scene procedural:val:5 --policy planner+poma3d-mini
    """

    out: Path | None = None
    """Results folder; default results/TASK-POLICY-HASH with a hash of the settings."""
    recording: bool = False
    """Record the first episode in 3D for the rerun viewer (recording.rrd)."""


def execute(config: Config) -> int:
    """Run the episodes, show the progress, print the table or the summary."""
    from benchmarks.evaluation import evaluate
    from benchmarks.navigation_run import default_folder
    from benchmarks.tables import measures_table, print_table
    from policies.loading import policy_label
    from pomagym.progress import EpisodeBar

    run = config.navigation_run(config.policy, houses=5)
    folder = config.out or default_folder(run)
    # What a policy of one's own prints is no result.
    with (
        contextlib.redirect_stdout(sys.stderr),
        EpisodeBar(f"{run.task} {policy_label(run.policy)}") as shown,
    ):
        evaluation = evaluate(
            run,
            folder,
            recording=config.recording,
            **config.how(),
            on_start=shown.start,
            on_episode=shown.episode,
            on_misfortune=shown.misfortune,
        )
    shown.there_already(evaluation)
    shown.left_out(evaluation)
    summary = evaluation.summary
    if config.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    else:
        table = measures_table(
            f"{run.task} on {run.scene or run.episodes}", {policy_label(run.policy): summary["measures"]}
        )
        print_table(table)
    print(f"results: {folder} (pomagym view {shlex.quote(str(folder))})", file=sys.stderr)
    if evaluation.outcome.refused or evaluation.unrecorded:
        return 2
    return 1 if evaluation.outcome.failed else 0
