"""NextStep: MSNN as a task of one step. In: a situation and a goal in words, and point maps; out: a direction."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.embodiment import AgentSpec
from envs.episode_env import FAR
from envs.locomotion import action_of
from envs.msnn.execute import SampleExecutor
from envs.msnn.files import read_msnn
from envs.msnn.generator import generate_msnn
from envs.msnn.sample import DIRECTION_TEXTS, MsnnSample, angular_error, check_directions, label_angle
from envs.msnn.scans import scene_of_scan
from envs.scene_choice import scene_id_of
from envs.scenepoint_export.export import ExportSettings, scan_id_of
from envs.scenepoint_export.views import choose_cameras
from envs.scenepoint_export.words import dice
from envs.scenes.scene import Scene
from envs.setting_types import check_flag, check_whole_number
from envs.simulators.open import SceneSpec
from envs.simulators.protocol import Simulator
from envs.simulators.shelf import Shelf
from envs.spaces import PointMapSpace, ValiditySpace
from envs.task_source import SceneChoice, body_of, list_scenes
from poma3d.errors import EpisodeError, SettingError
from poma3d.pointmap import Frame, frame_from_world, rotation_from_heading, world_from_pose

DEFAULT_COUNT = 80
"""How many samples are generated where neither a file nor a number is given."""


class NextStepEnv(gymnasium.Env[Any, Any]):
    """``pomagym/NextStep-v0``: say in which direction the next step to the goal goes. An episode is one step.

    Observations: ``point_map`` (H, W, 3) float32 metres in the agent's frame and ``valid`` (H, W) bool, what the agent
    sees; ``situation`` and ``interaction``, texts; ``location`` (3,) and ``orientation`` (4,) as (x, y, z, w), in the
    scene's frame (z up; the identity looks along +x). With ``views`` also ``views`` (V, H, W, 3) in the scene's frame
    and ``views_valid`` (V, H, W) int8: with the default body the first V views that `pomagym scenes export` makes with
    its seed 0, else the same choice with that body's camera and floors.

    Action d of n is the direction ``d * 360 / n`` degrees counter-clockwise from ahead. The reward is 1 for the right
    one, else 0; ``terminated`` is always True. ``info`` holds ``scan_id`` and ``sample_id``; after the step also
    ``correct``, ``answer`` and ``angular_error`` (degrees, from the middle of the direction), and with ``execute`` the
    ``progress`` (metres nearer after one metre in that direction) and ``nearer``.

    Every sample comes once in a round; the seed of ``reset(seed=...)`` orders the rounds, without ``shuffle`` they
    come in their own order. ``reset(options={"scan_id": ..., "sample_id": ...})`` runs that one.

    Args:
        scene: scenes to generate samples in, or among which those of the samples are found by name.
        samples: a file in the schema of ``msnn_scannet.json``, samples, or how many to generate.
        directions: 4 or 8.
        views: views of the whole scene in the observation; 0 for none.
        agent: a preset's name or a body.
        size: pixels of the point maps, (H, W) or one number for a square.
        hfov: horizontal field of view, degrees.
        execute: also carry out the direction; needs generated samples.
        shuffle: order the samples anew in every round.
        render_mode: None; there is nothing to draw.

    Raises:
        UserError: a setting, a file or a scene is wrong; the message says how.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(
        self,
        scene: SceneChoice = None,
        samples: str | os.PathLike[str] | Sequence[MsnnSample] | int | None = None,
        *,
        directions: int = 4,
        views: int = 0,
        agent: str | AgentSpec = "pointnav-gibson",
        size: int | Sequence[int] | None = None,
        hfov: float | None = None,
        execute: bool = False,
        shuffle: bool = True,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise SettingError(f"render_mode must be None, found {render_mode!r}: there is nothing to draw")
        check_whole_number("views", views)
        check_flag("execute", execute)
        check_flag("shuffle", shuffle)
        self.directions = check_directions(directions)
        """How many directions there are to choose from."""
        self.agent = body_of(agent, size=size, hfov=hfov)
        """The body, with its camera."""
        self.render_mode = None
        self._scenes = [] if scene is None and not _is_count(samples) else list_scenes(scene)
        self.samples = _samples(samples, self._scenes)
        """What is asked, in order."""
        self._specs: dict[str, SceneSpec] = {}
        self._shelf = Shelf(self.agent, "raycast", lambda scan_id: self._specs[scan_id])
        self._views, self._execute, self._shuffle = views, execute, shuffle
        self._seen: tuple[str, dict[str, np.ndarray]] | None = None
        self._executor: tuple[Simulator, SampleExecutor] | None = None
        self._order: Iterator[int] = self._rounds(0)
        self._sample: MsnnSample | None = None
        self._over = True
        self.action_space = spaces.Discrete(directions)
        self.observation_space = spaces.Dict(self._spaces())

    def _spaces(self) -> dict[str, spaces.Space]:
        height, width = self.agent.camera.height, self.agent.camera.width
        words = {name: [getattr(sample, name) for sample in self.samples] for name in _TEXTS}
        charset = "".join(sorted(set().union(*words["situation_text"], *words["interaction"])))
        found: dict[str, spaces.Space] = {
            "point_map": PointMapSpace(height, width, FAR),
            "valid": ValiditySpace(height, width),
            **{key: spaces.Text(max(map(len, words[name])), charset=charset) for name, key in _TEXTS.items()},
            "location": spaces.Box(-FAR, FAR, (3,), np.float32),
            "orientation": spaces.Box(-1.01, 1.01, (4,), np.float32),
        }
        if self._views:
            found["views"] = spaces.Box(-FAR, FAR, (self._views, height, width, 3), np.float32)
            found["views_valid"] = spaces.MultiBinary((self._views, height, width))
        return found

    @property
    def sample(self) -> MsnnSample:
        """The sample that is asked, or the last one; privileged, as it holds the answer."""
        if self._sample is None:
            raise SettingError("no sample is asked yet: call reset() first")
        return self._sample

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Ask the next sample, or the one that the options name.

        Raises:
            EpisodeError: its scene is absent.
            SettingError: a seed that is none, or options that name no sample.
        """
        if seed is not None:
            check_whole_number("seed", seed)
        super().reset(seed=None if seed is None else int(seed))
        if seed is not None:
            self._order = self._rounds(int(seed))
        self._over = True  # until the scene of the sample has been seen
        self._sample = self._named(options) if options else self.samples[next(self._order)]
        observation = self._observe()
        self._over = False
        return observation, self._info()

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Answer with a direction, 0 to ``directions`` - 1.

        Raises:
            SettingError: nothing is asked, or there is no such direction.
        """
        if self._over:
            raise SettingError("nothing is asked: call reset() before step()")
        action = action_of(action, DIRECTION_TEXTS[self.directions])
        self._over = True
        sample, angle = self.sample, label_angle(action, self.directions)
        answer = sample.label(self.directions)
        info = {
            **self._info(),
            "correct": action == answer,
            "answer": answer,
            "angular_error": angular_error(angle, sample.angle),
        }
        if self._execute:
            walked = self._executor_of(self._simulator()).execute(sample, angle)
            info |= {"progress": walked.progress, "nearer": walked.nearer}
        return self._observe(), float(action == answer), True, False, info

    def close(self) -> None:
        """Give the simulators back. May be called twice."""
        self._over = True
        self._executor = self._seen = None
        self._shelf.close()

    def _rounds(self, seed: int) -> Iterator[int]:
        """Places of samples, round after round."""
        number = 0
        while True:
            count = len(self.samples)
            yield from (
                dice("rounds", seed, number).permutation(count).tolist() if self._shuffle else range(count)
            )
            number += 1

    def _named(self, options: Mapping[str, Any]) -> MsnnSample:
        if not isinstance(options, Mapping) or set(options) != {"scan_id", "sample_id"}:
            raise SettingError(f"the options of reset are scan_id and sample_id, both; found {options!r}")
        for sample in self.samples:
            if (sample.scan_id, sample.sample_id) == (options["scan_id"], options["sample_id"]):
                return sample
        raise EpisodeError(f"there is no sample {options['sample_id']!r} of {options['scan_id']!r}")

    def _simulator(self) -> Simulator:
        sample = self.sample
        if sample.scan_id not in self._specs:
            self._specs[sample.scan_id] = scene_of_scan(sample, self._scenes)
        return self._shelf.simulator(sample.scan_id)

    def _executor_of(self, simulator: Simulator) -> SampleExecutor:
        if self._executor is None or self._executor[0] is not simulator:
            self._executor = simulator, SampleExecutor(simulator)
        return self._executor[1]

    def _observe(self) -> dict[str, Any]:
        sample, simulator = self.sample, self._simulator()
        heading = np.float64(sample.world_heading)
        world_from_agent = world_from_pose(sample.world_position, rotation_from_heading(heading))
        eye = world_from_agent.copy()
        eye[1, 3] += self.agent.camera_height
        ahead = simulator.render(
            eye[None],
            self.agent.camera,
            frame_from_world=frame_from_world(Frame.AGENT, world_from_agent=world_from_agent),
            depth_range=self.agent.depth_range,
        )
        return {
            "point_map": ahead.point_map[0],
            "valid": ahead.valid[0],
            **{key: getattr(sample, name) for name, key in _TEXTS.items()},
            "location": np.array(sample.location, dtype=np.float32),
            "orientation": np.array(sample.orientation, dtype=np.float32),
            **self._scene_views(simulator),
        }

    def _scene_views(self, simulator: Simulator) -> dict[str, np.ndarray]:
        """Views of the whole scene; those of the last scene are kept."""
        if not self._views:
            return {}
        scan_id = self.sample.scan_id
        if self._seen is None or self._seen[0] != scan_id:
            export = ExportSettings()
            reach = (0.0, export.farthest)
            rng = dice("cameras", export.seed, scan_id)
            poses = choose_cameras(simulator, self._views, export.candidates, export.hfov, reach, rng)
            seen = simulator.render(
                poses, self.agent.camera, frame_from_world=frame_from_world(Frame.SCENE), depth_range=reach
            )
            self._seen = scan_id, {"views": seen.point_map, "views_valid": seen.valid.astype(np.int8)}
        return {name: array.copy() for name, array in self._seen[1].items()}

    def _info(self) -> dict[str, Any]:
        return {"scan_id": self.sample.scan_id, "sample_id": self.sample.sample_id}


_TEXTS = {"situation_text": "situation", "interaction": "interaction"}
"""Fields of a sample that are told, and what the observation calls them."""


def _is_count(samples: Any) -> bool:
    return samples is None or (isinstance(samples, int) and not isinstance(samples, bool))


def _samples(choice: Any, scenes: Sequence[SceneSpec]) -> list[MsnnSample]:
    """The samples of a file, those given, or generated ones."""
    if _is_count(choice):
        if any(isinstance(scene, Scene) for scene in scenes):
            raise SettingError("samples are generated in scenes of files and procedural houses; name these")
        return generate_msnn([scene_id_of(scene) for scene in scenes], choice or DEFAULT_COUNT).samples
    if isinstance(choice, str | os.PathLike):
        names = {scan_id_of(scene_id_of(scene)) for scene in scenes}
        found = read_msnn(choice, names or None)
    elif isinstance(choice, Sequence) and all(isinstance(sample, MsnnSample) for sample in choice):
        found = list(choice)
    else:
        raise SettingError(f"samples must be a file, a list of MsnnSample or a number, found {choice!r}")
    if not found:
        raise SettingError("there are no samples")
    return found
