"""The navigation environment: an agent, its point maps and sensors, Habitat's actions, measures and rewards.

`PointNavEnv` and `ObjectNavEnv` say what the goal is and how it is observed; all else is here.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from envs import sensors
from envs.embodiment import AgentSpec
from envs.episodes.check import START_TOLERANCE, describe_offset, start_offset
from envs.episodes.episode import Episode
from envs.episodes.keys import EpisodeKey
from envs.locomotion import Action, Walker, action_of, upright_heading
from envs.measures import SLACK_REWARD, SUCCESS_REWARD, NavigationMeasures
from envs.schedule import EpisodeSchedule
from envs.setting_types import check_number, check_whole_number
from envs.simulators.protocol import DistanceField, Simulator, Surface, Views
from envs.simulators.shelf import Shelf
from envs.spaces import PointMapSpace, ValiditySpace
from poma3d.errors import EpisodeError, SettingError
from poma3d.pointmap import Camera, Frame, frame_from_world, rotation_from_heading, world_from_pose

_FAR = 1.0e4
"""Bound on coordinates that depend on where a scene lies, metres."""
_KEPT_FIELDS = 8
_RESET_OPTIONS = ("episode_id", "scene_id")

Observation = dict[str, np.ndarray]


class NavigationEnv(gymnasium.Env[Any, Any]):
    """An agent on its way to a goal, as in habitat-lab.

    Actions are Habitat's `Action`. ``terminated`` means that STOP was called, ``truncated`` that the step
    limit was reached. Rewards are Habitat's: slack, decrease of the distance to the goal, bonus on success.
    ``info`` holds the measures by Habitat's names with ``episode_id`` and ``scene_id``.

    Every episode comes once in a round. The seed of ``reset(seed=...)`` orders the rounds and goes back to the
    first one, so the copies of a vector environment, which Gymnasium seeds differently, run different episodes
    at a time; until a seed is given all have the order of seed 0, that is the same. With ``shuffle=False``
    they come in the order of the data set. ``reset(options={"episode_id": ...})`` (and ``"scene_id"``, where
    ids repeat) runs that one, then the order goes on: behind it, or shuffled where it was.

    Privileged access, for oracles and recorders, never part of an observation: `simulator`, `surface`,
    `episode`, `position`, `rotation`, `heading`, `distance_field`, `goal_positions`, `trajectory`,
    `measures`.

    Args:
        schedule: the episodes and their order.
        shelf: where their simulators come from; closed with the environment.
        agent: the body, with its camera, depth range, step limit and success distance.
        frame: of the point map.
        slack_reward: reward of every step.
        success_reward: reward of success.
        render_mode: ``rgb_array`` or None.

    Raises:
        SettingError: a setting out of range; the message says which.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        schedule: EpisodeSchedule,
        shelf: Shelf,
        *,
        agent: AgentSpec,
        frame: str | Frame = Frame.AGENT,
        slack_reward: float = SLACK_REWARD,
        success_reward: float = SUCCESS_REWARD,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise SettingError(
                f"render_mode must be None or 'rgb_array', found {render_mode!r}; no window is opened here:"
                " show what render() returns"
            )
        check_number("slack_reward", slack_reward)
        check_number("success_reward", success_reward)
        self.agent = agent
        """The body, with the camera and limits in force."""
        self.frame = Frame.parse(frame)
        """Frame of the point maps."""
        self.render_mode = render_mode
        self.measures = NavigationMeasures(
            self.agent.success_distance, slack_reward=slack_reward, success_reward=success_reward
        )
        """The measures of the running episode."""
        self._schedule = schedule
        self._shelf = shelf
        self._camera = self.agent.camera
        self._episode: Episode | None = None
        self._fields: OrderedDict[bytes, tuple[Surface, DistanceField]] = OrderedDict()
        self.last_action: int | None = None
        """The action of the last step, None at the start."""
        self._over = True
        self._painter: Any = None
        self.action_space = spaces.Discrete(len(Action))
        self.observation_space = spaces.Dict(
            {
                "point_map": PointMapSpace(
                    self._camera.height, self._camera.width, point_map_reach(agent, self.frame)
                ),
                "valid": ValiditySpace(self._camera.height, self._camera.width),
                **self._sensor_spaces(),
            }
        )

    # What the tasks say.

    def _sensor_spaces(self) -> dict[str, spaces.Space]:
        """Spaces of the sensors beside the point map."""
        everywhere = float(np.finfo(np.float32).max)
        return {
            "gps": spaces.Box(-everywhere, everywhere, (2,), np.float32),
            "compass": spaces.Box(-math.pi, math.pi, (1,), np.float32),
        }

    def _sense(self) -> Observation:
        """Readings of the sensors beside the point map."""
        walker = self._walker
        return {
            "gps": sensors.gps(walker.position, self._start_position, self._start_heading),
            "compass": sensors.compass(walker.heading, self._start_heading),
        }

    _sees_instances: bool = False
    """Whether views are rendered with the objects that pixels belong to."""

    def _recognise(self, views: Views) -> Observation:
        """What a camera that knows things sees in the views, of which there is one."""
        return {}

    def _goals_of(self, episode: Episode) -> np.ndarray:
        """What distances go to (G, 3), world frame."""
        return episode.goal_positions()

    # Gymnasium's interface.

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin the next episode, or the one that ``options["episode_id"]`` names.

        Raises:
            EpisodeError: the episode cannot be run: scene absent, start off the surface, goal unreachable.
            SettingError: a seed that is none, or options of other names.
        """
        options = reset_options(options)
        if seed is not None:
            check_whole_number("seed", seed)
        super().reset(seed=None if seed is None else int(seed))
        if seed is not None:
            self._schedule.restart(int(seed))
        if "episode_id" in options:
            self._schedule.jump(str(options["episode_id"]), options.get("scene_id"))
        self._begin(self._schedule.next())
        return self._observe(), self._info()

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Carry out one of Habitat's actions (0 stop, 1 move_forward, 2 turn_left, 3 turn_right).

        Raises:
            SettingError: no episode is running, or there is no such action.
        """
        if self._over:
            raise SettingError("no episode is running: call reset() before step()")
        action = action_of(action)
        walker, self.last_action = self._walker, action
        walker.act(action)
        distance = self.measures.distance_to_goal
        if walker.moved:
            distance = float(self._field.distance(walker.position[None])[0])
            self._trajectory.append(walker.position)
        stop = action == Action.STOP
        self.measures.step(walker.moved, distance, collided=walker.collided, stop=stop)
        truncated = not stop and self.measures.num_steps >= self.agent.max_steps
        self._over = stop or truncated
        return self._observe(), self.measures.reward, stop, truncated, self._info()

    def render(self) -> np.ndarray | None:
        """A picture (rows, columns, 3) uint8 for people: point map, depth, map from above, captions."""
        if self.render_mode is None:
            return None
        if self._episode is None:
            raise SettingError("there is nothing to draw yet: call reset() before render()")
        if self._painter is None:
            from envs.painter import EpisodePainter

            self._painter = EpisodePainter()
        return self._painter.draw(self)

    def close(self) -> None:
        """Give the simulators back. May be called twice."""
        self._over = True
        self._fields.clear()
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
    def simulator(self) -> Simulator:
        """The simulator of the running episode's scene."""
        self.episode  # noqa: B018  (says so where no episode has begun)
        return self._simulator

    @property
    def surface(self) -> Surface:
        """Where the agent can walk."""
        return self.simulator.surface

    @property
    def distance_field(self) -> DistanceField:
        """Geodesic distances to the goals of the running episode."""
        self.episode  # noqa: B018
        return self._field

    @property
    def goal_positions(self) -> np.ndarray:
        """What distances go to (G, 3), world frame: goals or view points."""
        self.episode  # noqa: B018
        return self._goals

    @property
    def position(self) -> np.ndarray:
        """The agent's base (3,), world frame, metres."""
        return self._walker.position

    @property
    def heading(self) -> float:
        """The agent's heading, radians, 0 along -z, positive to the left."""
        return self._walker.heading

    @property
    def rotation(self) -> np.ndarray:
        """The agent's rotation (4,) in the order (x, y, z, w)."""
        return rotation_from_heading(np.float64(self._walker.heading))

    @property
    def start_position(self) -> np.ndarray:
        """Where the episode began (3,), world frame."""
        return self._start_position

    @property
    def trajectory(self) -> np.ndarray:
        """Positions (N, 3) of the base since the start, world frame; turns and vain steps add none."""
        return np.array(self._trajectory)

    @property
    def success_distance(self) -> float:
        """STOP nearer than this (geodesic) is a success, metres."""
        return self.agent.success_distance

    @property
    def over(self) -> bool:
        """Whether no episode is running: before the first `reset` and after the last step."""
        return self._over

    @property
    def camera(self) -> Camera:
        """The camera of the point maps."""
        return self._camera

    @property
    def world_from_agent(self) -> np.ndarray:
        """Pose (4, 4) of the agent's base, Habitat's body axes."""
        return world_from_pose(self._walker.position, self.rotation)

    @property
    def world_from_camera(self) -> np.ndarray:
        """Pose (4, 4) of the camera, Habitat's body axes."""
        pose = self.world_from_agent
        pose[1, 3] += self.agent.camera_height  # the agent stands upright
        return pose

    # Inside.

    def _begin(self, episode: Episode) -> None:
        """Set the scene, the agent and the measures of an episode."""
        self._over = True
        where = f"episode {episode.episode_id!r} in {episode.scene_id}"
        simulator = self._shelf.simulator(episode.scene_id)
        surface = simulator.surface
        goals = self._goals_of(episode)
        start = np.array(episode.start_position, dtype=np.float64)
        try:
            heading = upright_heading(np.array(episode.start_rotation))
        except EpisodeError as error:
            raise EpisodeError(f"{where}: {error}") from None
        offset = start_offset(surface, start)
        if offset > START_TOLERANCE:
            raise EpisodeError(
                f"{where}: its start {episode.start_position} is off the surface ({describe_offset(offset)});"
                " `pomagym episodes check` lists such episodes"
            )
        field = self._distance_field(episode, surface, goals)
        distance = float(field.distance(start[None])[0])
        if not math.isfinite(distance):
            raise EpisodeError(
                f"{where}: none of its {len(goals)} goals can be reached from its start;"
                " `pomagym episodes check` lists such episodes"
            )
        self._episode, self._simulator, self._goals, self._field = episode, simulator, goals, field
        self._walker = Walker(surface, self.agent)
        self._walker.place(start, heading)
        self._start_position, self._start_heading = start, heading
        self._world_from_start = self.world_from_agent
        self._trajectory = [self._walker.position]
        self.last_action = None
        self.measures.reset(distance)
        self._over = False

    def _distance_field(self, episode: Episode, surface: Surface, goals: np.ndarray) -> DistanceField:
        """The field of these goals; a few are kept, since ObjectNav episodes of a category share them."""
        key = goals.tobytes()
        made_for, field = self._fields.pop(key, (None, None))
        if made_for is not surface or field is None:
            field = surface.distance_field(goals)
        self._fields[key] = surface, field
        while len(self._fields) > _KEPT_FIELDS:
            self._fields.popitem(last=False)
        return field

    def _observe(self) -> Observation:
        """The point map and all sensors, in new arrays."""
        world_from_agent = self.world_from_agent
        world_from_camera = world_from_agent.copy()
        world_from_camera[1, 3] += self.agent.camera_height
        views = self._simulator.render(
            world_from_camera[None],
            self._camera,
            frame_from_world=None
            if self.frame is Frame.WORLD
            else frame_from_world(
                self.frame,
                world_from_start=self._world_from_start,
                world_from_agent=world_from_agent,
                world_from_camera=world_from_camera,
            ),
            depth_range=self.agent.depth_range,
            instances=self._sees_instances,
        )
        return {
            "point_map": views.point_map[0],
            "valid": views.valid[0],
            **self._recognise(views),
            **self._sense(),
        }

    def _info(self) -> dict[str, Any]:
        return {
            **self.measures.as_dict(),
            "episode_id": self.episode.episode_id,
            "scene_id": self.episode.scene_id,
        }

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse `copy` and `pickle`: scenes and ray casters are shared, not copied."""
        raise SettingError(
            "an environment cannot be copied or pickled: make another one from the same settings, and begin the"
            ' same episode by reset(options={"episode_id": ..., "scene_id": ...})'
        )


def reset_options(options: Any) -> Mapping[str, Any]:
    """The options of an environment's ``reset``, checked.

    Raises:
        SettingError: they are no mapping, have other names, or a scene without an episode.
    """
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


def point_map_reach(agent: AgentSpec, frame: Frame) -> float:
    """Bound on the coordinates of a body's point maps in that frame, metres."""
    far = agent.depth_range[1]
    if frame not in (Frame.AGENT, Frame.CAMERA) or not math.isfinite(far):
        return _FAR
    camera = agent.camera
    corner = math.hypot(camera.focal, camera.width / 2, camera.height / 2) / camera.focal
    return far * corner + agent.camera_height
