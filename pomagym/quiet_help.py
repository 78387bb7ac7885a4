"""Help texts for people: nothing is said of defaults that are nothing, switches are on or off, sentences flow."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Annotated, Any, get_args, get_origin, get_type_hints


def quiet(config: Any) -> Any:
    """``config``, its flags without ``(default: None)`` and ``(default: )``; their sentences say what holds then.

    Of a switch the default is on or off. tyro leaves some of a docstring's line breaks where they were in the source;
    here sentences flow. It takes such wishes from the annotations of a dataclass alone, so they are added there.

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
    import docstring_parser
    import tyro

    for owner in filter(dataclasses.is_dataclass, kind.__mro__):  # a command's fields may be inherited
        hints, own = get_type_hints(owner, include_extras=True), dict(inspect.get_annotations(owner))
        said = {
            field.arg_name: field.description for field in docstring_parser.parse_from_object(owner).params
        }
        for name in own:
            if dataclasses.is_dataclass(hints[name]):
                _quiet_fields(hints[name])
                continue
            plain = _plain(hints[name])
            hint = (
                _switch
                if plain is bool
                else _default
                if plain is str or _may_be_nothing(hints[name])
                else None
            )
            sentences = " ".join((said.get(name) or "").split()) or None
            own[name] = Annotated[hints[name], tyro.conf.arg(help=sentences, help_behavior_hint=hint)]
        owner.__annotations__ = own


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _may_be_nothing(hint: Any) -> bool:
    """Whether a flag's value can be None or an empty tuple; of one that is given several times tyro says so itself."""
    import tyro

    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    plain = _plain(hint)
    return tyro.conf.UseAppendAction not in marks and (
        get_origin(plain) is tuple or type(None) in get_args(plain)
    )


def _default(label: str) -> str:
    import tyro

    if label == str(tyro.MISSING):
        return "(required)"
    return "" if label in ("", "''", "None") else f"(default: {label})"


def _switch(label: str) -> str:
    return "(on; this flag turns it off)" if label == "True" else "(default: off)"
