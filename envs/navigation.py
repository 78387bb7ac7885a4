"""The navigation environment: an agent on its way to a goal, Habitat's actions, sensors, measures and rewards.

`PointNavEnv` and `ObjectNavEnv` say what the goal is and how it is observed; all else is here and in `EpisodeEnv`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import fields
from typing import Any

import numpy as np
from gymnasium import spaces

from envs import sensors
from envs.embodiment import AgentSpec
from envs.episode_env import EpisodeEnv, Observation, called
from envs.episodes.episode import Episode
from envs.locomotion import Action, action_of
from envs.measures import SLACK_REWARD, SUCCESS_REWARD, NavigationMeasures
from envs.navigation_state import NavigationState, check_belongs, digest
from envs.schedule import EpisodeSchedule
from envs.setting_types import check_number
from envs.simulators.protocol import DistanceField, Simulator, Surface, Views
from envs.simulators.shelf import Shelf
from poma3d.errors import EpisodeError, SettingError
from poma3d.pointmap import Frame

_KEPT_FIELDS = 8


class NavigationEnv(EpisodeEnv):
    """An agent on its way to a goal, as in habitat-lab.

    Actions are Habitat's `Action`. ``terminated`` means that STOP was called, ``truncated`` that the step
    limit was reached. Rewards are Habitat's: slack, decrease of the distance to the goal, bonus on success.
    ``info`` holds the measures by Habitat's names with ``episode_id`` and ``scene_id``. Order of episodes, seeds
    and options of `reset` are those of `EpisodeEnv`.

    `state` keeps a moment of the episode and `restore` goes back to it, for planning and tree search.

    Privileged access, beside that of `EpisodeEnv`: `distance_field`, `goal_positions`, `measures`.

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
        check_number("slack_reward", slack_reward)
        check_number("success_reward", success_reward)
        super().__init__(schedule, shelf, agent=agent, frame=frame, render_mode=render_mode)
        self.measures = NavigationMeasures(
            self.agent.success_distance, slack_reward=slack_reward, success_reward=success_reward
        )
        """The measures of the running episode."""
        self._fields: OrderedDict[bytes, tuple[Surface, DistanceField]] = OrderedDict()
        self.last_action: int | None = None
        """The action of the last step, None at the start."""
        self.times_restored = 0
        """How often `restore` has moved the agent; who plans ahead of it can tell by this."""
        self._painter: Any = None
        self.action_space = spaces.Discrete(len(Action))

    # What the tasks say.

    def _sensor_spaces(self) -> dict[str, spaces.Space]:
        everywhere = float(np.finfo(np.float32).max)
        return {
            "gps": spaces.Box(-everywhere, everywhere, (2,), np.float32),
            "compass": spaces.Box(-math.pi, math.pi, (1,), np.float32),
        }

    def _sense(self, views: Views) -> Observation:
        walker = self._walker
        return {
            "gps": sensors.gps(walker.position, self._start_position, self._start_heading),
            "compass": sensors.compass(walker.heading, self._start_heading),
        }

    def _goals_of(self, episode: Episode) -> np.ndarray:
        """What distances go to (G, 3), world frame."""
        return episode.goal_positions()

    # Gymnasium's interface.

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Carry out one of Habitat's actions (0 stop, 1 move_forward, 2 turn_left, 3 turn_right).

        Raises:
            SettingError: no episode is running, or there is no such action.
        """
        self._refuse_if_over()
        self.last_action = action = action_of(action)
        self._act(action)
        walker, distance = self._walker, self.measures.distance_to_goal
        if walker.moved:
            distance = float(self._field.distance(walker.position[None])[0])
        stop = action == Action.STOP
        self.measures.step(walker.moved, distance, collided=walker.collided, stop=stop)
        truncated = not stop and self.measures.num_steps >= self.agent.max_steps
        self._over = stop or truncated
        return self._observe(), self.measures.reward, stop, truncated, self._info()

    # Going back.

    def state(self) -> NavigationState:
        """This moment of the episode, for `restore`: small, frozen, and it can be pickled.

        Raises:
            SettingError: no episode has begun.
        """
        self._refuse_unless_begun()
        return NavigationState(
            episode_id=self.episode.episode_id,
            scene_id=self.episode.scene_id,
            terms=tuple(self._terms().items()),
            position=tuple(self._walker.position.tolist()),
            heading=self._walker.heading,
            trajectory=tuple(self._trajectory),
            last_action=self.last_action,
            over=self._over,
            measures=self.measures.state(),
        )

    def restore(self, state: NavigationState) -> tuple[Observation, dict[str, Any]]:
        """Go back (or on) to a moment of the running episode, also after its end; what follows is as it was then.

        The same actions have the same outcome, bit for bit. Order of episodes and seed stay as they are, and so do
        wrappers and policies that remember: go around the former (``env.unwrapped``), reset the latter.

        Returns:
            The observation and the measures of that moment.

        Raises:
            SettingError: no episode has begun, or the state is of another one or was taken under other settings.
        """
        self._refuse_unless_begun()
        episode = self.episode
        check_belongs(state, episode_id=episode.episode_id, scene_id=episode.scene_id, terms=self._terms())
        self._walker.place(np.array(state.position), state.heading)
        self._trajectory = list(state.trajectory)
        self.last_action, self._over = state.last_action, state.over
        self.measures.restore(state.measures)
        self.times_restored += 1
        return self._observe(), self._info()

    def _terms(self) -> dict[str, Hashable]:
        """The settings that, with a state, decide what follows, by name."""
        return {
            "task": type(self).__name__,
            **{field.name: getattr(self.agent, field.name) for field in fields(self.agent)},
            "frame": self.frame.value,
            "slack_reward": self.measures.slack_reward,
            "success_reward": self.measures.success_reward,
            "simulator": type(self.simulator).__name__,
            "start": digest(self._start_position, np.array(self._start_heading)),
            "goals": digest(self._goals),
            "the distance at the start": self.measures.start_distance,
        }

    def _refuse_unless_begun(self) -> None:
        if not self._begun:
            raise SettingError("no episode has begun, or the environment was closed: call reset() first")

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
        self._fields.clear()
        super().close()

    # Privileged access.

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
    def success_distance(self) -> float:
        """STOP nearer than this (geodesic) is a success, metres."""
        return self.agent.success_distance

    # Inside.

    def _prepare(self, episode: Episode, simulator: Simulator, start: np.ndarray) -> None:
        """Find the goals and the way to them."""
        goals = self._goals_of(episode)
        field = self._distance_field(simulator.surface, goals)
        distance = float(field.distance(start[None])[0])
        if not math.isfinite(distance):
            raise EpisodeError(
                f"{called(episode)}: none of its {len(goals)} goals can be reached from its start;"
                " `pomagym episodes check` lists such episodes"
            )
        self._goals, self._field = goals, field
        self.last_action = None
        self.measures.reset(distance)

    def _distance_field(self, surface: Surface, goals: np.ndarray) -> DistanceField:
        """The field of these goals; a few are kept, since ObjectNav episodes of a category share them."""
        key = goals.tobytes()
        made_for, field = self._fields.pop(key, (None, None))
        if made_for is not surface or field is None:
            field = surface.distance_field(goals)
        self._fields[key] = surface, field
        while len(self._fields) > _KEPT_FIELDS:
            self._fields.popitem(last=False)
        return field

    def _info(self) -> dict[str, Any]:
        return {**self.measures.as_dict(), **super()._info()}
