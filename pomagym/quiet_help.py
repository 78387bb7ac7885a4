"""Help texts without what says nothing: that a flag's default is nothing, or that `None` could be written."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Annotated, Any, get_args, get_origin, get_type_hints


def quiet(config: Any) -> Any:
    """``config``, its flags without ``(default: None)`` and ``(default: )``; their sentences say what holds then.

    tyro takes such wishes from the annotations of a dataclass alone, so they are added there.

    Args:
        config: a dataclass or a union of annotated ones, as a command's ``Config``.
    """
    for part in get_args(config) or (config,):
        chosen = get_args(part)[0] if get_args(part) else part
        if dataclasses.is_dataclass(chosen):
            _quiet_fields(chosen)
    return config


@functools.cache  # a class is changed once, however many command lines one process reads
def _quiet_fields(kind: Any) -> None:
    import tyro

    for owner in filter(dataclasses.is_dataclass, kind.__mro__):  # a command's fields may be inherited
        hints, own = get_type_hints(owner, include_extras=True), dict(inspect.get_annotations(owner))
        for name in own:
            if dataclasses.is_dataclass(hints[name]):
                _quiet_fields(hints[name])
            elif _may_be_nothing(hints[name]):
                own[name] = Annotated[hints[name], tyro.conf.arg(help_behavior_hint=_default)]
        owner.__annotations__ = own


def _may_be_nothing(hint: Any) -> bool:
    """Whether a flag's value can be None or an empty tuple; of one that is given several times tyro says so itself."""
    import tyro

    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    plain = get_args(hint)[0] if marks else hint
    return tyro.conf.UseAppendAction not in marks and (
        get_origin(plain) is tuple or type(None) in get_args(plain)
    )


def _default(label: str) -> str:
    return "" if label in ("", "None") else f"(default: {label})"
