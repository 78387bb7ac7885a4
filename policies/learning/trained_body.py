"""The body and camera that a learned policy was trained with, held against those it is to act with."""

from __future__ import annotations

from envs.embodiment import AgentSpec
from policies.learning.features import ViewFeatures
from policies.learning.houses import training_body
from poma3d.errors import SettingError

LEAST_SHARE = 0.5
"""Of the rows trained with that a view needs at least.

Features of `poma3d-mini` on a view of a house, against those at 112 pixels, relative to their spread: 0.04 to 0.07 at
square sizes of 56 to 224 pixels, as much as the choice of the nearest pixel makes; 0.19 at 28, 0.14 at 88 degrees,
0.56 at 60 degrees, 0.45 at 480 x 640.
"""
_AGENT = "--agent pointnav-gibson"


def refuse_other_body(name: str, features: ViewFeatures, found: AgentSpec) -> None:
    """Refuse a camera that gives the features another meaning, and actions of other sizes.

    `pomagym train` trains with one body, `training_body`, so no folder needs to say which. Square point maps of other
    sizes show the same view and are brought to the size trained with. Without features no camera is looked at.

    Args:
        name: of the policy.
        features: what it sees through.
        found: the body it is to act with.

    Raises:
        SettingError: one that differs; the message says what was trained with, what was found and what to give.
    """
    trained = training_body(features.size)
    wrong = []
    if features.layout.size:
        camera, size = found.camera, features.size
        if camera.hfov != trained.camera.hfov:
            degrees = f"{trained.camera.hfov:g}"
            wrong.append(
                (f"a field of view of {degrees} degrees", f"{camera.hfov:g} degrees", f"--hfov {degrees}")
            )
        if camera.height != camera.width or camera.height < LEAST_SHARE * size:
            kind = "square point maps" if camera.height != camera.width else "point maps"
            wrong.append(
                (f"{kind} of {size} x {size} pixels", f"{camera.height} x {camera.width}", f"--size {size}")
            )
        if found.camera_height != trained.camera_height:
            wrong.append(
                (f"a camera {trained.camera_height:g} m high", f"{found.camera_height:g} m", _AGENT),
            )
        if found.depth_range != trained.depth_range:
            ranges = ["{:g} to {:g} m".format(*body.depth_range) for body in (trained, found)]
            wrong.append((f"depths of {ranges[0]}", ranges[1], _AGENT))
    if found.turn_angle != trained.turn_angle:
        wrong.append((f"turns of {trained.turn_angle:g} degrees", f"{found.turn_angle:g} degrees", _AGENT))
    if found.forward_step != trained.forward_step:
        wrong.append((f"steps of {trained.forward_step:g} m", f"{found.forward_step:g} m", _AGENT))
    if wrong:
        was, now, give = zip(*wrong, strict=True)
        raise SettingError(
            f"the policy {name} was trained with {', '.join(was)}; found {', '.join(now)}:"
            f" give {' '.join(dict.fromkeys(give))}"
        )
