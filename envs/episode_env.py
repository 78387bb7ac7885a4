"""An agent in an episode: what navigation and localisation share. Which episode is next, where it starts, what is seen.

`NavigationEnv` and `LocalizationEnv` say what is asked of the agent; all else is here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.embodiment import AgentSpec
from envs.episodes.check import START_TOLERANCE, describe_offset, start_offset
from envs.episodes.episode import Episode
from envs.episodes.keys import EpisodeKey
from envs.locomotion import Walker, upright_heading
from envs.schedule import EpisodeSchedule
from envs.setting_types import check_whole_number
from envs.simulators.protocol import Simulator, Surface, Views
from envs.simulators.shelf import Shelf
from envs.spaces import PointMapSpace, ValiditySpace
from poma3d.errors import EpisodeError, SettingError
from poma3d.pointmap import Frame, frame_from_world, rotation_from_heading, world_from_pose

FAR = 1.0e4
"""Bound on coordinates that depend on where a scene lies, metres."""
_RESET_OPTIONS = ("episode_id", "scene_id")

Observation = dict[str, np.ndarray]


class EpisodeEnv(gymnasium.Env[Any, Any], ABC):
    """An agent that sees point maps, put at the start of one episode after another.

    Every episode comes once in a round. The seed of ``reset(seed=...)`` orders the rounds and goes back to the
    first one, so the copies of a vector environment, which Gymnasium seeds differently, run different episodes
    at a time; until a seed is given all have the order of seed 0, that is the same. With ``shuffle=False``
    they come in the order of the data set. ``reset(options={"episode_id": ...})`` (and ``"scene_id"``, where
    ids repeat) runs that one, then the order goes on: behind it, or shuffled where it was.

    Privileged access, for oracles and recorders, never part of an observation: `simulator`, `surface`,
    `episode`, `position`, `rotation`, `heading`, `trajectory`.

    Args:
        schedule: the episodes and their order.
        shelf: where their simulators come from; closed with the environment.
        agent: the body, with its camera, depth range and step limit.
        frame: of the point map.
        render_mode: ``rgb_array`` or None.

    Raises:
        SettingError: no such frame or render mode.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        schedule: EpisodeSchedule,
        shelf: Shelf,
        *,
        agent: AgentSpec,
        frame: str | Frame = Frame.AGENT,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise SettingError(
                f"render_mode must be None or 'rgb_array', found {render_mode!r}; no window is opened here:"
                " show what render() returns"
            )
        self.agent = agent
        """The body, with the camera and limits in force."""
        self.camera = agent.camera
        """The camera of the point maps."""
        self.frame = Frame.parse(frame)
        """Frame of the point maps."""
        self.render_mode = render_mode
        self._schedule = schedule
        self._shelf = shelf
        self._episode: Episode | None = None
        self._begun = False  # whether `_episode` began, and its simulator is still held
        self._over = True
        height, width = self.camera.height, self.camera.width
        self.observation_space = spaces.Dict(
            {
                "point_map": PointMapSpace(height, width, _reach(agent, self.frame)),
                "valid": ValiditySpace(height, width),
                **self._sensor_spaces(),
            }
        )

    # What the tasks say.

    _sees_instances: bool = False
    """Whether views are rendered with the objects that pixels belong to."""

    def _sensor_spaces(self) -> dict[str, spaces.Space]:
        """Spaces of the sensors beside the point map."""
        return {}

    def _sense(self, views: Views) -> Observation:
        """Readings of the sensors beside the point map; ``views`` holds the one that the agent sees."""
        return {}

    @abstractmethod
    def _prepare(self, episode: Episode, simulator: Simulator, start: np.ndarray) -> None:
        """Make ready for an episode that starts at ``start`` (3,), or raise where the task cannot be set."""

    def _info(self) -> dict[str, Any]:
        """What `reset` and `step` tell beside the observation."""
        return {"episode_id": self.episode.episode_id, "scene_id": self.episode.scene_id}

    # Gymnasium's interface.

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin the next episode, or the one that ``options["episode_id"]`` names.

        Raises:
            EpisodeError: the episode cannot be run: scene absent, start off the surface, goal unreachable.
            SettingError: a seed that is none, or options of other names.
        """
        options = _checked_options(options)
        if seed is not None:
            check_whole_number("seed", seed)
        super().reset(seed=None if seed is None else int(seed))
        if seed is not None:
            self._schedule.restart(int(seed))
        if "episode_id" in options:
            self._schedule.jump(str(options["episode_id"]), options.get("scene_id"))
        self._begun, self._over = False, True  # whatever follows may refuse the episode
        self._begin(self._schedule.next())
        return self._observe(), self._info()

    def close(self) -> None:
        """Give the simulators back. May be called twice."""
        self._begun, self._over = False, True
        self._shelf.close()

    def episode_keys(self) -> list[EpisodeKey]:
        """(scene id, episode id) of every episode in order, as the options of `reset` take them."""
        return list(self._schedule.dataset.keys())

    # Privileged access.

    @property
    def episode(self) -> Episode:
        """The running episode, or the last one."""
        if self._episode is None:
            raise SettingError("no episode has begun: call reset() first")
        return self._episode

    @property
    def over(self) -> bool:
        """Whether no episode is running: before the first `reset` and after the last step."""
        return self._over

    @property
    def simulator(self) -> Simulator:
        """The simulator of the running episode's scene."""
        self.episode  # noqa: B018  (says so where no episode has begun)
        return self._simulator

    @property
    def surface(self) -> Surface:
        """Where the agent can walk."""
        return self.simulator.surface

    @property
    def position(self) -> np.ndarray:
        """The agent's base (3,), world frame, metres."""
        self.episode  # noqa: B018
        return self._walker.position

    @property
    def heading(self) -> float:
        """The agent's heading, radians, 0 along -z, positive to the left."""
        self.episode  # noqa: B018
        return self._walker.heading

    @property
    def rotation(self) -> np.ndarray:
        """The agent's rotation (4,) in the order (x, y, z, w)."""
        return rotation_from_heading(np.float64(self.heading))

    @property
    def start_position(self) -> np.ndarray:
        """Where the episode began (3,), world frame."""
        self.episode  # noqa: B018
        return self._start_position

    @property
    def trajectory(self) -> np.ndarray:
        """Positions (N, 3) of the base since the start, world frame; turns and vain steps add none."""
        self.episode  # noqa: B018
        return np.array(self._trajectory)

    @property
    def world_from_agent(self) -> np.ndarray:
        """Pose (4, 4) of the agent's base, Habitat's body axes."""
        return world_from_pose(self.position, self.rotation)

    @property
    def world_from_camera(self) -> np.ndarray:
        """Pose (4, 4) of the camera, Habitat's body axes."""
        pose = self.world_from_agent
        pose[1, 3] += self.agent.camera_height  # the agent stands upright
        return pose

    # Inside.

    def _begin(self, episode: Episode) -> None:
        """Open the scene of an episode and put the agent at its start."""
        where = called(episode)
        simulator = self._shelf.simulator(episode.scene_id)
        start = np.array(episode.start_position, dtype=np.float64)
        try:
            heading = upright_heading(np.array(episode.start_rotation))
        except EpisodeError as error:
            raise EpisodeError(f"{where}: {error}") from None
        offset = start_offset(simulator.surface, start)
        if offset > START_TOLERANCE:
            raise EpisodeError(
                f"{where}: its start {episode.start_position} is off the surface ({describe_offset(offset)});"
                " `pomagym episodes check` lists such episodes"
            )
        self._prepare(episode, simulator, start)
        self._walker = Walker(simulator.surface, self.agent)
        self._walker.place(start, heading)
        self._episode, self._simulator = episode, simulator
        self._start_position, self._start_heading = start, heading
        self._world_from_start = self.world_from_agent
        self._trajectory = [tuple(self._walker.position.tolist())]
        self._begun, self._over = True, False

    def _refuse_if_over(self) -> None:
        if self._over:
            raise SettingError("no episode is running: call reset() before step()")

    def _act(self, action: int) -> None:
        """Carry out one of Habitat's actions and keep the way."""
        self._walker.act(action)
        if self._walker.moved:
            self._trajectory.append(tuple(self._walker.position.tolist()))

    def _observe(self) -> Observation:
        """The point map and all sensors, in new arrays."""
        world_from_camera = self.world_from_camera
        views = self._simulator.render(
            world_from_camera[None],
            self.camera,
            frame_from_world=None
            if self.frame is Frame.WORLD
            else frame_from_world(
                self.frame,
                world_from_start=self._world_from_start,
                world_from_agent=self.world_from_agent,
                world_from_camera=world_from_camera,
            ),
            depth_range=self.agent.depth_range,
            instances=self._sees_instances,
        )
        return {"point_map": views.point_map[0], "valid": views.valid[0], **self._sense(views)}

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse `copy` and `pickle`: scenes and ray casters are shared, not copied."""
        raise SettingError(
            "an environment cannot be copied or pickled: make another one from the same settings, and begin the"
            ' same episode by reset(options={"episode_id": ..., "scene_id": ...}); in navigation state() keeps a'
            " moment, and restore() goes back to it"
        )


def called(episode: Episode) -> str:
    """What messages call an episode."""
    return f"episode {episode.episode_id!r} in {episode.scene_id}"


def _checked_options(options: Any) -> Mapping[str, Any]:
    """The options of `EpisodeEnv.reset`; refused: no mapping, other names, a scene without an episode."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise SettingError(f"the options of reset must be a mapping, found {options!r}")
    unknown = [name for name in options if name not in _RESET_OPTIONS]
    if unknown:
        raise SettingError(
            f"unknown option {unknown[0]!r} of reset; the options are {' and '.join(_RESET_OPTIONS)}"
        )
    if "scene_id" in options and "episode_id" not in options:
        raise SettingError("the option scene_id of reset goes with an episode_id; episode_keys() lists both")
    return options


def _reach(agent: AgentSpec, frame: Frame) -> float:
    """Bound on the coordinates of a body's point maps in that frame, metres."""
    far = agent.depth_range[1]
    if frame not in (Frame.AGENT, Frame.CAMERA) or not math.isfinite(far):
        return FAR
    camera = agent.camera
    corner = math.hypot(camera.focal, camera.width / 2, camera.height / 2) / camera.focal
    return far * corner + agent.camera_height
