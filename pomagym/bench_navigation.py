"""The part `navigation` of `pomagym bench`: policies side by side on one set of episodes, beside their controls."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pomagym.navigation_flags import NavigationFlags

if TYPE_CHECKING:
    from benchmarks.evaluation import Evaluation


@dataclass(frozen=True)
class _Who:
    """Comes first in the help, before the flags that the commands share."""

    policies: tuple[str, ...] = ("oracle", "random", "forward")
    """The policies to compare: names, planner+ENCODER, folders of trained ones, or FILE.py:CLASS or MODULE:CLASS for
    your own. NAME= before one says what its row and its folder are called: a=runs/1/policy b=runs/2/policy."""


@dataclass(frozen=True)
class Navigation(NavigationFlags, _Who):
    """Run policies on one set of episodes and print one table, with 95 % intervals and the controls.

    The controls oracle (what the episodes allow at best), random and forward are always among the rows.

    For example:

        pomagym bench navigation --scene procedural:val:20 --episodes 200 --workers 2
        pomagym bench navigation --scene house.glb --episodes val.json.gz --json
    """

    episodes: str = "100"
    """An episode file of Habitat's (.json.gz), or how many episodes to generate, over all scenes together."""
    out: Path | None = None
    """Folder that gets a results folder for each policy; default results/navigation-HASH."""


def navigation(config: Navigation) -> int:
    """Run the policies one after another, print the table or the comparison."""
    from benchmarks.navigation import compare_policies, named_policies
    from benchmarks.results import config_sha256
    from benchmarks.tables import measures_table, print_table
    from pomagym.progress import EpisodeBar

    first = next(iter(named_policies(config.policies or ("oracle",)).values()))
    run = config.navigation_run(first, houses=20)
    folder = config.out or Path("results") / f"navigation-{config_sha256(run.as_config())[:8]}"
    codes: list[int] = []

    def left_out(evaluation: Evaluation) -> None:
        shown.there_already(evaluation)
        if not any(codes):  # every policy meets the same episodes
            shown.left_out(evaluation)
        bad = evaluation.outcome.refused or evaluation.unrecorded
        codes.append(2 if bad else 1 if evaluation.outcome.failed else 0)

    # What a policy of one's own prints is no result.
    with contextlib.redirect_stdout(sys.stderr), EpisodeBar(run.task) as shown:
        comparison = compare_policies(
            run,
            config.policies,
            folder,
            **config.how(),
            on_policy=shown.rename,
            on_evaluation=left_out,
            on_start=shown.start,
            on_episode=shown.episode,
            on_misfortune=shown.misfortune,
        )
    if config.json:
        print(json.dumps(comparison, indent=2, allow_nan=False))
    else:
        rows = {row["policy"]: row["measures"] for row in comparison["rows"]}
        print_table(measures_table(f"{run.task} on {run.scene or run.episodes}", rows))
    print(f"results: {folder} (pomagym view {shlex.quote(str(folder))})", file=sys.stderr)
    return max(codes, default=0)
