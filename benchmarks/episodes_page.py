"""The page of an episode file: maps with starts and goals, how hard the episodes are, every episode."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import charts
from benchmarks.page import cell, page, picture, section, table, tiles, warning
from envs.episodes.dataset import read_episodes
from envs.episodes.episode import Episode
from envs.episodes.locate import locate_scene
from envs.floor_plan import scene_topdown_picture
from envs.simulators.open import open_scene
from envs.topdown import topdown_picture
from poma3d.errors import UserError
from poma3d.files import write_text

_MOST_MAPS = 6
_MOST_ROWS = 1000
_MOST_EPISODES = 20_000


def episodes_page(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    scenes_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the page of an episode file.

    Args:
        path: a PointNav-v1 or ObjectNav-v1 file (``.json.gz``).
        out: the file to write.
        scenes_dir: folder that holds its scenes; without them there are no maps.

    Returns:
        The page.

    Raises:
        FileError: the file is missing or damaged.
    """
    path = Path(path)
    episodes: list[Episode] = []
    for episode in read_episodes(path):
        episodes.append(episode)
        if len(episodes) == _MOST_EPISODES:
            break
    by_scene: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_scene.setdefault(episode.scene_id, []).append(episode)
    task = "ObjectNav" if episodes[0].object_category is not None else "PointNav"
    more = f", the first {_MOST_EPISODES:,}" if len(episodes) == _MOST_EPISODES else ""
    lead = f"{task}, {_count(len(episodes), 'episode')} in {_count(len(by_scene), 'scene')}{more}"
    parts = [_numbers(episodes, by_scene), _difficulty(episodes), *_maps(path, by_scene, scenes_dir)]
    parts += [_categories(episodes), _table(episodes)]
    write_text(
        out, page("episodes", path.name, lead, [p for p in parts if p], command=f"pomagym view {path.name}")
    )
    return Path(out)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _distances(episodes: Sequence[Episode]) -> np.ndarray:
    """Recorded geodesic distances (N,), those that there are."""
    found = [e.geodesic_distance for e in episodes]
    values = np.array([d for d in found if d is not None], np.float64)
    return values[np.isfinite(values)]


def _straight(episode: Episode) -> float:
    """Straight distance from the start to the nearest goal, metres; NaN without a goal."""
    if not episode.goals:
        return float("nan")
    goals = np.array([goal.position for goal in episode.goals])
    return float(np.linalg.norm(goals - np.array(episode.start_position), axis=1).min())


def _numbers(episodes: Sequence[Episode], by_scene: dict[str, list[Episode]]) -> str:
    values = [(f"{len(episodes):,}", "episodes", f"in {_count(len(by_scene), 'scene')}")]
    distances = _distances(episodes)
    if len(distances):
        low, high = distances.min(), distances.max()
        values.append((f"{np.median(distances):.1f} m", "median shortest path", f"{low:.1f} to {high:.1f} m"))
    ratios = _ratios(episodes)
    if len(ratios):
        values.append((f"{np.median(ratios):.2f}", "median detour", "shortest path over straight line"))
    categories = {e.object_category for e in episodes if e.object_category is not None}
    if categories:
        values.append((str(len(categories)), "categories", "of objects to find"))
    return tiles(values)


def _ratios(episodes: Sequence[Episode]) -> np.ndarray:
    """Shortest path over straight line (N,), where both are known; for point goals only."""
    pairs = [(e.geodesic_distance, _straight(e)) for e in episodes if e.object_category is None]
    return np.array([d / s for d, s in pairs if d is not None and np.isfinite(d) and s > 0.1])


def _difficulty(episodes: Sequence[Episode]) -> str:
    drawn = []
    distances = _distances(episodes)
    if len(distances):
        top = float(np.ceil(distances.max()))
        label = "shortest path from the start, metres"
        drawn.append(charts.histogram("Length", {"episodes": distances.tolist()}, label, top=max(top, 1.0)))
    ratios = _ratios(episodes)
    if len(ratios):
        over = np.clip(ratios - 1, 0, None)
        label = "extra length over the straight line"
        top = max(float(np.ceil(np.quantile(over, 0.99) * 5) / 5), 0.2)
        drawn.append(charts.histogram("Detour", {"episodes": over.tolist()}, label, top=top))
    if not drawn:
        return ""
    counts = Counter(
        str((e.info or {}).get("difficulty")) for e in episodes if (e.info or {}).get("difficulty")
    )
    note = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    return section("How hard they are", f'<div class="charts">{"".join(drawn)}</div>', note)


def _maps(
    path: Path, by_scene: dict[str, list[Episode]], scenes_dir: str | os.PathLike[str] | None
) -> list[str]:
    """The floor plan of each scene with the starts and goals of its episodes."""
    figures, absent = [], []
    for scene_id, episodes in list(by_scene.items())[:_MOST_MAPS]:
        try:
            scene = open_scene(locate_scene(scene_id, scenes_dir=scenes_dir, episode_file=path))
        except UserError as error:
            absent.append(str(error))
            continue
        starts = np.array([e.start_position for e in episodes])
        goals = np.array([goal.position for e in episodes for goal in e.goals[:20]]).reshape(-1, 3)
        floor = float(np.quantile(starts[:, 1], 0.1))
        plan, window = scene_topdown_picture(scene, floor_height=floor, size=900)
        image = topdown_picture(
            np.zeros((1, 1), bool),
            scene.bounds,
            start=starts,
            goals=np.unique(goals, axis=0),
            window=window,
            backdrop=plan,
            backdrop_window=window,
            size=(plan.shape[0], plan.shape[1]),
            marker_scale=0.35,
        )
        caption = f"{scene_id}: {len(episodes)} episodes"
        figures.append(picture(image, f"map of {scene_id} with starts and goals", caption=caption))
    parts = []
    if figures:
        note = "Green discs: starts. Orange stars: goals."
        if len(by_scene) > _MOST_MAPS:
            note += f" The first {_MOST_MAPS} of {len(by_scene)} scenes."
        parts.append(section("Where they are", f'<div class="gallery wide">{"".join(figures)}</div>', note))
    if absent:
        parts.append(warning("Scenes that are not here are not drawn.", absent))
    return parts


def _categories(episodes: Sequence[Episode]) -> str:
    counts = Counter(e.object_category for e in episodes if e.object_category is not None)
    if not counts:
        return ""
    rows = [("", [cell(str(name)), cell(str(n), n, number=True)]) for name, n in counts.most_common()]
    columns = [("category", False), ("episodes", True)]
    return section("What is searched", table(columns, rows, caption="categories", sortable=True, tall=True))


def _table(episodes: Sequence[Episode]) -> str:
    searched = any(e.object_category is not None for e in episodes)
    rows = []
    for episode in episodes[:_MOST_ROWS]:
        distance, straight = episode.geodesic_distance, _straight(episode)
        cells = [cell(episode.episode_id), cell(episode.scene_id, wrap=True)]
        if searched:
            cells.append(cell(episode.object_category or "-"))
        cells.append(cell("-" if distance is None else f"{distance:.2f}", distance or "", number=True))
        if not searched:
            cells.append(cell(f"{straight:.2f}", straight, number=True))
        cells.append(cell(", ".join(f"{v:.2f}" for v in episode.start_position)))
        cells.append(cell(str(len(episode.goals)), number=True))
        rows.append(("", cells))
    columns = [("episode", False), ("scene", False)] + ([("find", False)] if searched else [])
    columns += [("shortest path, m", True)] + ([] if searched else [("straight, m", True)])
    columns += [("start (x, y, z), m", False), ("goals", True)]
    note = f"The first {_MOST_ROWS:,} of {len(episodes):,}." if len(episodes) > _MOST_ROWS else ""
    content = table(columns, rows, caption="episodes", name="episodes", sortable=True, tall=True)
    return section(f"Episodes ({len(episodes):,})", content, note)
