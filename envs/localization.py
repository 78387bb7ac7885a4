"""Localisation: wake up somewhere in a scene that is remembered, look and move about, then say where one is."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.embodiment import AgentSpec
from envs.episode_env import EpisodeEnv, Observation
from envs.episodes.episode import Episode
from envs.episodes.localization_generator import localization_episode
from envs.locomotion import Action, action_of
from envs.measures import SLACK_REWARD, SUCCESS_REWARD
from envs.scene_memory import VIEWS, SceneMemory, remember_scene, scene_pose
from envs.schedule import EpisodeSchedule
from envs.setting_types import check_number, check_path, check_whole_number
from envs.simulators.protocol import Simulator
from envs.simulators.shelf import Shelf
from envs.task_source import EpisodeChoice, SceneChoice, body_of, open_source
from poma3d.errors import SettingError
from poma3d.pointmap import Frame

SUCCESS_WITHIN = (0.25, 10.0)
"""A declaration no farther off than this (metres, degrees) is a success."""
COARSE_WITHIN = (0.5, 15.0)
"""A declaration no farther off than this (metres, degrees) is a coarse success."""
MAX_STEPS = 100
"""Default step limit: two turns round and a walk of 7 m."""
DECLARE = int(Action.STOP)
"""Number of the action that declares the pose and so ends the episode: Habitat's STOP."""
FARTHEST = 1000.0
"""Bound on declared coordinates in the action space, metres."""
_KEPT_MEMORIES = 16


def declare(x: float, y: float, yaw: float) -> np.ndarray:
    """The action (4,) float32 that ends the episode with "I am here": scene frame, metres and radians."""
    return np.array([DECLARE, x, y, yaw], dtype=np.float32)


def move(action: int) -> np.ndarray:
    """The action (4,) float32 that moves: 1 move_forward, 2 turn_left, 3 turn_right."""
    return np.array([action, 0.0, 0.0, 0.0], dtype=np.float32)


class LocalizationEnv(EpisodeEnv):
    """``pomagym/Localization-v0``: where am I, and where do I look?

    The agent wakes at an unknown pose of a scene it has a `memory` of: V posed views. It sees egocentric point
    maps and nothing else, no ``gps`` and no ``compass``, may move for ``max_steps`` steps, and declares where
    it is now.

    Observations: ``point_map`` (H, W, 3) float32 metres in ``frame``, ``valid`` (H, W) bool. The frame is
    ``agent``, ``camera`` or ``episode``; ``world`` and ``scene`` give the pose away and are refused.
    ``episode`` is measured from the unknown start: it tells how far the agent has moved, but not from where.

    Actions: a ``Box`` of four numbers ``(move, x, y, yaw)``. ``move`` is one of Habitat's actions (rounded): 1
    move_forward, 2 turn_left, 3 turn_right, and 0, STOP, declares the pose: x and y in the scene's frame,
    metres, and yaw, radians (`envs.scene_memory.scene_pose`); the other actions ignore it. `declare` and
    `move` make them. One flat array, because Stable-Baselines3 has no algorithm for ``Dict`` actions;
    ``gymnasium.wrappers.RescaleAction(env, -1, 1)`` gives the range that it recommends.

    ``info`` holds ``success`` (within 0.25 m and 10 degrees), ``success_coarse`` (0.5 m and 15 degrees),
    ``position_error`` (metres) and ``heading_error`` (degrees), infinite until something is declared,
    ``num_steps``, the declaration included, ``episode_id`` and ``scene_id``. ``terminated`` = declared,
    ``truncated`` = step limit. The reward is ``slack_reward`` a step and ``success_reward`` on success.

    Order of episodes, seeds and ``reset(options={"episode_id": ...})`` are `EpisodeEnv`'s. The goals of
    recorded episodes play no part, so every PointNav or ObjectNav file serves.

    Privileged access, beside that of `EpisodeEnv`: `pose`, `errors`.

    Args:
        scene: a mesh file, a scene, ``procedural:SPLIT:N`` (the first N houses of a split), or a list.
        episodes: an episode file, how many to generate, or a list of episodes.
        simulator: ``raycast``, ``warp``, ``habitat``, or a simulator, which stays open when the environment is
            closed.
        agent: a preset's name or a body; the settings below change it.
        size: pixels of the point map, (H, W) or one number for a square.
        hfov: horizontal field of view, degrees.
        frame: of the point map: agent, camera or episode.
        depth_range: nearest and farthest z-depth that is valid, metres.
        max_steps: step limit.
        memory_views: how many views the agent remembers, V.
        memory_seed: of the memory's views; None = ``seed``.
        shuffle: order the episodes anew in every round, by the seed of `reset`; False keeps their own order.
        seed: of generated episodes.
        navmesh: Habitat's navmesh to walk on (`envs.pointnav.PointNavEnv`).
        scenes_dir: folder in which the scenes of recorded episodes are looked for.
        slack_reward: reward of every step.
        success_reward: reward of a success within `SUCCESS_WITHIN`.
        render_mode: ``rgb_array`` or None.

    Raises:
        UserError: a setting, a file or a scene is wrong; the message says how.
    """

    def __init__(
        self,
        scene: SceneChoice = None,
        episodes: EpisodeChoice = None,
        *,
        simulator: str | Simulator = "raycast",
        agent: str | AgentSpec = "pointnav-gibson",
        size: int | Sequence[int] | None = None,
        hfov: float | None = None,
        frame: str | Frame = Frame.AGENT,
        depth_range: tuple[float, float] | None = None,
        max_steps: int = MAX_STEPS,
        memory_views: int = VIEWS,
        memory_seed: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        navmesh: str | os.PathLike[str] | None = None,
        scenes_dir: str | os.PathLike[str] | None = None,
        slack_reward: float = SLACK_REWARD,
        success_reward: float = SUCCESS_REWARD,
        render_mode: str | None = None,
    ) -> None:
        frame = Frame.parse(frame)
        if frame.reveals_pose:
            raise SettingError(
                f"point maps in the frame {frame.value!r} give away the pose that is asked for:"
                " localisation takes the frames agent, camera and episode"
            )
        check_whole_number("seed", seed)
        check_path("navmesh", navmesh)
        check_number("slack_reward", slack_reward)
        check_number("success_reward", success_reward)
        check_whole_number("memory_views", memory_views, least=1)
        memory_seed = seed if memory_seed is None else memory_seed
        check_whole_number("memory_seed", memory_seed)
        body = body_of(agent, size=size, hfov=hfov, depth_range=depth_range, max_steps=max_steps)

        def make(scene_id: str, index: int) -> Episode:
            return localization_episode(shelf.simulator(scene_id), index, seed, scene_id=scene_id)

        dataset, locate = open_source(scene, episodes, simulator, scenes_dir, make)
        shelf = Shelf(body, simulator, locate, navmesh=navmesh)
        schedule = EpisodeSchedule(dataset, shuffle=shuffle)
        super().__init__(schedule, shelf, agent=body, frame=frame, render_mode=render_mode)
        self.declared: np.ndarray | None = None
        """The declared pose (3,), None while nothing is declared."""
        self._rewards = float(slack_reward), float(success_reward)
        self._memory_views, self._memory_seed = memory_views, memory_seed
        self._memories: OrderedDict[str, tuple[Simulator, SceneMemory]] = OrderedDict()
        self.action_space = spaces.Box(
            np.array([0, -FARTHEST, -FARTHEST, -math.pi], np.float32),
            np.array([len(Action) - 1, FARTHEST, FARTHEST, math.pi], np.float32),
            dtype=np.float32,
        )

    # Gymnasium's interface.

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move, or declare the pose and end.

        Args:
            action: (4,) numbers ``(move, x, y, yaw)``.

        Raises:
            SettingError: no episode is running, or the action is no such array.
        """
        self._refuse_if_over()
        which, declared = _parse(action)
        self._num_steps += 1
        reward = self._rewards[0]
        if which == DECLARE:
            self.declared = declared
            reward += self._rewards[1] * self._within(*SUCCESS_WITHIN)
        else:
            self._act(which)
        terminated = which == DECLARE
        truncated = not terminated and self._num_steps >= self.agent.max_steps
        self._over = terminated or truncated
        return self._observe(), reward, terminated, truncated, self._info()

    def render(self) -> np.ndarray | None:
        """A picture (rows, columns, 3) uint8 for people: the scene from above, memory, true and declared pose."""
        if self.render_mode is None:
            return None
        from envs.localization_picture import draw_localization

        return draw_localization(self)

    def close(self) -> None:
        """Give the simulators back. May be called twice."""
        self._memories.clear()
        super().close()

    # What a policy may know.

    @property
    def memory(self) -> SceneMemory:
        """What the agent remembers of the running episode's scene; the same for all of its episodes.

        It is handed over here (``env.unwrapped.memory``, or ``get_attr("memory")`` of a vector environment) and
        not in observations or ``info``: it is megabytes large and does not change while an episode runs.
        """
        self.episode  # noqa: B018  (says so where no episode has begun)
        return self._memory

    # Privileged access.

    @property
    def pose(self) -> np.ndarray:
        """The right answer (3,): x, y and yaw in the scene's frame."""
        return scene_pose(self.position, self.heading)

    def errors(self) -> tuple[float, float]:
        """How far off the declaration is: metres (on the floor) and degrees; infinite before there is one."""
        if self.declared is None:
            return math.inf, math.inf
        x, y, yaw = self.pose
        turn = (float(self.declared[2]) - yaw + math.pi) % (2 * math.pi) - math.pi
        return math.hypot(self.declared[0] - x, self.declared[1] - y), abs(math.degrees(turn))

    # Inside.

    def _prepare(self, episode: Episode, simulator: Simulator, start: np.ndarray) -> None:
        """Remember the scene; nothing is declared yet."""
        self._memory = self._remember(episode.scene_id, simulator)
        self._num_steps = 0
        self.declared = None

    def _remember(self, scene_id: str, simulator: Simulator) -> SceneMemory:
        """The memory of a scene; those of the last few scenes are kept."""
        made_for, memory = self._memories.pop(scene_id, (None, None))
        if made_for is not simulator or memory is None:
            memory = remember_scene(simulator, scene_id, self.camera, self._memory_views, self._memory_seed)
        self._memories[scene_id] = simulator, memory
        while len(self._memories) > _KEPT_MEMORIES:
            self._memories.popitem(last=False)
        return memory

    def _within(self, metres: float, degrees: float) -> bool:
        position, heading = self.errors()
        return position <= metres and heading <= degrees

    def _info(self) -> dict[str, Any]:
        position, heading = self.errors()
        return {
            "success": float(self._within(*SUCCESS_WITHIN)),
            "success_coarse": float(self._within(*COARSE_WITHIN)),
            "position_error": position,
            "heading_error": heading,
            "num_steps": self._num_steps,
            **super()._info(),
        }


def _parse(action: Any) -> tuple[int, np.ndarray]:
    """The number of the move and the declared pose (3,) float64 of an action."""
    try:
        numbers = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):  # a dict, lists of unequal length, tensors on a GPU
        numbers = np.empty(0)
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise SettingError(
            "an action is four finite numbers (move, x, y, yaw), such as envs.localization.declare(x, y, yaw) or"
            f" move(1) make them; found {action!r}"
        )
    return action_of(
        round(float(numbers[0])), ("declare", "move_forward", "turn_left", "turn_right")
    ), numbers[1:]
