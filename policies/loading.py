"""From what a person writes for a policy to the policy: its name, a trained one's folder, a class of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from agent.policy import Policy
from policies.own_code import cause, code_sha256, import_code, named_files
from policies.planner import Planner
from policies.recognition.eyes import eyes_label, open_eyes
from policies.scripted import POLICIES, make_policy
from poma3d.errors import SettingError, UserError

SHIPPED = {"pointnav-mini": Path(__file__).parent / "pretrained" / "pointnav-mini"}
"""Trained policies that come with the package, by name; each folder has its card, `README.md`."""
SEEING = "planner+"
"""Before the name, file or folder of an encoder: the planner that sees through it."""


def open_policy(spec: str) -> Policy:
    """The policy of that name, in that folder, or a new object of the class ``FILE.py:CLASS`` or ``MODULE:CLASS``.

    ``planner+ENCODER`` is the planner that recognises objects through an encoder (`policies.recognition.eyes`).

    A folder is one that `pomagym train` made (`policies.learning.policy_folder`).

    A class needs `reset` and `act` (`agent.policy.Policy`) and no arguments; one without ``name`` is called by
    its own, one without ``privileged`` is not.

    Raises:
        SettingError: there is no such policy, class or method.
        UserError: the file cannot be imported, or the class cannot be made; the message holds the cause.
        FileError: a folder that holds no policy, or one that was trained on another backbone.
    """
    folder = _folder_of(spec)
    if folder is not None:
        from policies.learning.policy_folder import open_policy_folder

        return open_policy_folder(folder)
    if spec.startswith(SEEING):
        return Planner(open_eyes(spec.removeprefix(SEEING)))
    if ":" not in spec:
        if spec not in POLICIES:
            raise SettingError(
                f"unknown policy {spec!r}; the policies are {', '.join([*POLICIES, *SHIPPED])},"
                f" {SEEING}ENCODER, the folder of a trained one, and FILE.py:CLASS or MODULE:CLASS for one of your own"
            )
        return make_policy(spec)
    place, name = spec.rsplit(":", 1)
    module = import_code(place)
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        classes = [
            key for key, value in vars(module).items() if isinstance(value, type) and hasattr(value, "act")
        ]
        raise SettingError(f"{place} has no class {name!r}; classes that act: {', '.join(classes) or 'none'}")
    missing = [method for method in ("reset", "act") if not callable(getattr(kind, method, None))]
    if missing:
        raise SettingError(f"{spec} is no policy: it lacks {' and '.join(missing)}")
    files = getattr(kind, "files", ())
    if isinstance(files, str | list | tuple):
        listed = [files] if isinstance(files, str) else list(map(str, files))
        if listed != named_files(place, name):
            raise SettingError(
                f"{spec} reads {', '.join(listed)}, by what its class takes over or makes; write files ="
                f" {listed!r} into the body of {name} itself, so that a run notices when they change"
            )
    try:
        policy: Any = kind()
    except Exception as error:
        raise UserError(f"{spec} cannot be made without arguments ({cause(error)})") from error
    for attribute, default in (("name", name), ("privileged", False)):
        if not hasattr(policy, attribute):
            setattr(policy, attribute, default)
    return policy


def policy_label(spec: str) -> str:
    """What folders and tables call a policy: its name, that of its folder, or that of its class."""
    folder = _folder_of(spec)
    if folder is not None:
        return folder.resolve().name
    if spec.startswith(SEEING):
        return SEEING + eyes_label(spec.removeprefix(SEEING))
    return spec.rsplit(":", 1)[-1]


def policy_sha256(spec: str) -> str | None:
    """sha256 (hex) of a trained policy, or of a person's own code (`policies.own_code`); None for the scripted.

    Raises:
        UserError: the file or module cannot be found.
    """
    folder = _folder_of(spec)
    if folder is not None:
        from policies.learning.policy_folder import policy_folder_sha256

        return policy_folder_sha256(folder)
    if spec.startswith(SEEING):
        return open_eyes(spec.removeprefix(SEEING)).sha256()
    if ":" not in spec:
        return None
    return code_sha256(*spec.rsplit(":", 1))


def policy_weights_sha256(spec: str) -> str | None:
    """The hash of the weights of a trained policy, or of the encoder it sees through; None for all others."""
    folder = _folder_of(spec)
    if folder is None and spec.startswith(SEEING):
        return open_eyes(spec.removeprefix(SEEING)).weights_sha256
    if folder is None:
        return None
    from policies.learning.policy_folder import read_description

    return str(read_description(folder)["weights_sha256"])


def _folder_of(spec: str) -> Path | None:
    """The folder of a trained policy that a person means; None for another kind. Names come before folders."""
    if spec in SHIPPED:
        return SHIPPED[spec]
    return Path(spec) if spec not in POLICIES and os.path.isdir(spec) else None
