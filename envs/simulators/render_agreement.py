"""How far two simulators see the same scene alike, pixel by pixel.

From the command line: ``python -m envs.simulators.render_agreement SCENE [SCENE ...] [--simulator warp]``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from envs.simulators.contract import host
from envs.simulators.open import open_scene, open_simulator
from envs.simulators.protocol import Simulator
from poma3d.errors import SettingError, UserError
from poma3d.pointmap import Camera, rotation_from_heading, world_from_pose

CAMERAS = (Camera(224, 224, 90.0), Camera(96, 160, 79.0))
"""What every pose is looked at with."""
APART = 1e-3
"""Points this far apart, metres, are not the same."""
_AT_ONCE = 8


@dataclass(frozen=True)
class RenderAgreement:
    """Two simulators' views of the same poses, compared."""

    pixels: int
    """How many were compared."""
    validity_differs: int
    """Pixels where one alone saw a surface."""
    apart: int
    """Pixels where both did, `APART` or more from each other."""
    farthest: float
    """Of all other pixels where both did, the largest distance between their points, metres."""
    same_instance: float
    """Share of the pixels where both saw a surface that have the same instance id."""

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.pixels} pixels: validity differs in {self.validity_differs}, {self.apart} are"
            f" {1000 * APART:g} mm or more apart, the others up to {1000 * self.farthest:.3f} mm;"
            f" same instance id in {self.same_instance:.4%}"
        )


def render_agreement(first: Simulator, second: Simulator, poses: int = 32, seed: int = 0) -> RenderAgreement:
    """Compare what two simulators of one scene see from random poses of an agent.

    Args:
        first: a simulator; the poses are drawn on its surface.
        second: another of the same scene.
        poses: how many, each with every one of `CAMERAS`.
        seed: of the poses.

    Raises:
        SettingError: fewer than one pose.
    """
    if poses < 1:
        raise SettingError(f"two simulators are compared from at least 1 pose, found {poses}")
    rng = np.random.default_rng(seed)
    points = np.stack([host(first.surface.random_navigable_point(rng)) for _ in range(poses)])
    points[:, 1] += first.agent.camera_height
    eyes = world_from_pose(points, rotation_from_heading(rng.uniform(-np.pi, np.pi, poses)))
    pixels = differs = apart = seen = same = 0
    farthest = 0.0
    for camera in CAMERAS:
        for start in range(0, poses, _AT_ONCE):
            some = eyes[start : start + _AT_ONCE]
            a, b = (simulator.render(some, camera, instances=True) for simulator in (first, second))
            valid, other = host(a.valid), host(b.valid)
            both = valid & other
            distance = np.linalg.norm(host(a.point_map) - host(b.point_map), axis=-1)[both]
            pixels += valid.size
            differs += int((valid != other).sum())
            apart += int((distance >= APART).sum())
            farthest = max(farthest, float(distance[distance < APART].max(initial=0.0)))
            seen += int(both.sum())
            same += int((host(a.instance_ids) == host(b.instance_ids))[both].sum())
    return RenderAgreement(pixels, differs, apart, farthest, same / max(seen, 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two simulators on scenes, a line each; answers 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m envs.simulators.render_agreement", description=main.__doc__
    )
    parser.add_argument("scenes", nargs="+", help="mesh files, or procedural:SPLIT:SEED")
    parser.add_argument("--simulator", default="warp", help="what is compared (default: warp)")
    parser.add_argument("--with", dest="other", default="raycast", help="with what (default: raycast)")
    parser.add_argument("--poses", type=int, default=32, help="poses of each scene (default: 32)")
    parser.add_argument("--seed", type=int, default=0, help="of the poses (default: 0)")
    options = parser.parse_args(arguments)
    try:
        for name in options.scenes:
            scene = name if "habitat" in (options.simulator, options.other) else open_scene(name)
            with (
                closing(open_simulator(scene, backend=options.other)) as known,
                closing(open_simulator(scene, backend=options.simulator)) as compared,
            ):
                agreement = render_agreement(known, compared, options.poses, options.seed)
            print(f"{name}: {agreement}", flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
