"""MSNN samples made from scenes with semantics, in the schema of the authors' file.

Each scene offers candidates (`envs.msnn.pool`), of which a balanced choice is made over all scenes
(`envs.msnn.balance`), which is then put into words (`envs.msnn.wording`). What comes out depends on the list of scenes,
the count and the settings alone, not on the number of workers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from envs.msnn.balance import LEVELS, choose
from envs.msnn.pool import Pool, scene_pool
from envs.msnn.sample import MsnnSample, orientation_of, yaw_of
from envs.msnn.settings import MsnnSettings
from envs.msnn.wording import interaction_text, situation_text
from envs.scenepoint_export.export import scan_id_of
from envs.scenepoint_export.words import dice
from envs.setting_types import check_whole_number
from envs.simulators.open import open_scene
from envs.spawned_pool import spawned_pool
from poma3d.errors import SceneError, SettingError, UserError


@dataclass(frozen=True)
class MsnnSet:
    """Generated samples and how they were balanced."""

    samples: list[MsnnSample]
    """By scene, in the order of the scenes."""
    groups: dict[str, int]
    """How many groups of 8 samples have what in common (`envs.msnn.balance.LEVELS`)."""
    problems: dict[str, str]
    """Scenes that offer nothing, and why."""


def generate_msnn(
    scenes: Sequence[str],
    count: int,
    settings: MsnnSettings | None = None,
    *,
    scenes_dir: str | os.PathLike[str] | None = None,
    levels: int = len(LEVELS),
    workers: int = 1,
    on_scene: Callable[[str], None] = lambda scene_id: None,
) -> MsnnSet:
    """Make samples.

    Args:
        scenes: mesh files and ids such as ``procedural:train:0007``.
        count: samples of all scenes together, rounded up to a multiple of 8.
        settings: which.
        scenes_dir: where relative paths are looked for.
        levels: how many of `envs.msnn.balance.LEVELS` may be used; 1 keeps the words from telling anything.
        workers: processes.
        on_scene: told of every scene that was looked at.

    Raises:
        SettingError: a count or a number of workers below 1, or two scenes of one name.
        SceneError: the scenes do not offer as many samples.
        UserError: a scene is absent or damaged, or a worker was killed.
    """
    settings = settings or MsnnSettings()
    check_whole_number("count", count, least=1)
    check_whole_number("workers", workers, least=1)
    names: dict[str, str] = {}
    for scene in scenes:
        other = names.setdefault(scan_id_of(os.fspath(scene)), os.fspath(scene))
        if other != os.fspath(scene):
            raise SettingError(f"{other} and {scene} would both be called {scan_id_of(scene)}; rename one")
    pools: list[Pool] = []
    problems: dict[str, str] = {}
    for scene, found in _pools(list(names.values()), settings, scenes_dir, workers):
        if isinstance(found, Pool):
            pools.append(found)
        else:
            problems[scene] = found
        on_scene(scene)
    if not pools:
        raise SceneError(next(iter(problems.values()), "no scenes to make samples of"))
    rng = dice("msnn choice", settings.seed, count, *names)
    choices, groups = choose(pools, count, rng, near_share=settings.near_share, levels=levels)
    if len(choices) < count:
        raise SceneError(
            f"{len(pools)} scenes offer {len(choices)} of {count} balanced samples; ask for fewer, name more scenes"
            " or allow more --places in each"
        )
    by_pool: dict[int, list[tuple[int, int]]] = {}
    for choice in choices:
        by_pool.setdefault(choice.pool, []).append((choice.candidate, choice.group))
    samples = [
        _sample(pools[pool], candidate, group, number, settings)
        for pool in sorted(by_pool)
        for number, (candidate, group) in enumerate(sorted(by_pool[pool]))
    ]
    return MsnnSet(samples, groups, problems)


def _sample(pool: Pool, candidate: int, group: int, number: int, settings: MsnnSettings) -> MsnnSample:
    """A candidate in words and in the frame of the file."""
    situation = pool.situations[pool.situation[candidate]]
    goal = int(pool.goal[candidate])
    instance, name = pool.goals[goal]
    way = pool.ways[situation.place][goal]
    x, y, z = pool.places[situation.place].tolist()
    orientation = tuple(round(value, 8) for value in orientation_of(round(situation.yaw, 5)))
    words = dice("msnn words", settings.seed, pool.scan_id, candidate)
    text = situation_text(situation, words)
    return MsnnSample(
        scan_id=pool.scan_id,
        sample_id=f"{number:04d}",
        location=(x, 0.0 - z, y),
        orientation=orientation,  # type: ignore[arg-type]
        situation_text=text,
        interaction=interaction_text(name.category, name.text, words),
        angle=round(math.degrees(way.angle - yaw_of(orientation)) % 360.0, 4) % 360.0,
        situation_multimodal=text,
        insts=(instance, *(mark.instance for mark in situation.landmarks)),
        meta_data={
            "scene_id": pool.scene_id,
            "goal": {"instance": instance, "category": name.category, "name": name.text},
            "situation": {"kind": situation.kind, "side": situation.side, "room": situation.room},
            "path": "straight" if settings.straight else "shortest",
            "geodesic_distance": round(way.length, 4),
            "first_leg": round(way.leg, 4),
            "in_sight": bool(pool.in_sight[candidate]),
            "group": group,
        },
    )


def _pools(
    scenes: list[str], settings: MsnnSettings, scenes_dir: str | os.PathLike[str] | None, workers: int
) -> Iterator[tuple[str, Pool | str]]:
    """What each scene offers, in order, or why it offers nothing."""
    if workers == 1 or len(scenes) < 2:
        for scene in scenes:
            yield scene, _pool(scene, settings, scenes_dir)
        return
    remedy = "run the same command with fewer --workers"
    with spawned_pool(min(workers, len(scenes)), remedy=remedy) as processes:
        waiting = [processes.submit(_pool, scene, settings, scenes_dir) for scene in scenes]
        for scene, future in zip(scenes, waiting, strict=True):
            yield scene, future.result()


def _pool(scene: str, settings: MsnnSettings, scenes_dir: str | os.PathLike[str] | None) -> Pool | str:
    """What a scene offers; an error of a file stops all, in a form that comes through from a process."""
    try:
        loaded = open_scene(scene, scenes_dir)
        return scene_pool(loaded, settings)
    except SceneError as error:
        return str(error)
    except UserError as error:
        raise UserError(str(error)) from None
