"""The names under which Gymnasium makes the environments; imports nothing heavy."""

from __future__ import annotations

import gymnasium

ENVIRONMENTS = {
    "pomagym/PointNav-v0": "envs.pointnav:PointNavEnv",
    "pomagym/ObjectNav-v0": "envs.objectnav:ObjectNavEnv",
    "pomagym/NextStep-v0": "envs.next_step:NextStepEnv",
    "pomagym/Localization-v0": "envs.localization:LocalizationEnv",
}
"""Where each environment is found, by its id."""


def register_environments() -> None:
    """Tell Gymnasium where the environments are; may be called again."""
    for name, entry_point in ENVIRONMENTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=entry_point)
