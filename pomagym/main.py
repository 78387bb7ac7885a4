"""The command `pomagym`: finds the command asked for, reads its flags, turns failures into exit codes.

Each command is a module `pomagym.NAME` that holds

- `Config`: a frozen dataclass with a sentence under each field (its docstring, with examples, is the help) or
  a union of such dataclasses, each `Annotated` with `tyro.conf.subcommand(name)`, for a command with parts;
- `execute(config) -> int`: does the work and returns the exit code.

A command's module is imported only when it is asked for, and imports what is heavy (numba, torch, ...) inside
`execute`, so that `pomagym --help` answers at once. To add a command: write its module, add its line to
`COMMANDS`.

Exit codes: 0 done, 2 bad input (one line on standard error), 130 Ctrl-C, 143 SIGTERM.
A traceback means a defect of ours.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, get_args

from poma3d.errors import UserError
from poma3d.files import DISK_FULL
from poma3d.warning_lines import warning_lines
from pomagym.quiet_help import quiet

COMMANDS: dict[str, str] = {
    "run": "run navigation episodes with a policy; writes results, video, 3D recording",
    "bench": "navigation | localization | msnn | qa | ...: policies, heads and encoders beside their controls",
    "train": "train a policy on frozen features: dagger, ppo or recurrent-ppo; resumes exactly",
    "train-head": "train a head that answers from a scene and a text (MSNN, question answering) on frozen features",
    "pretrain": "train the backbone: a warm-up, then alignment with POMA-JEPA; resumes exactly",
    "scenes": "list | generate | export | convert | check: scenes, and point-map data made from them or from scans",
    "episodes": "generate | check | msnn: episode files in Habitat's format; situations with directions",
    "view": "look at a scene, an episode, a results folder or a training",
    "doctor": "what this machine can do, and the one command that mends what is missing",
}
"""Name of each command and what it does; `pomagym.NAME` is its module, with _ for -."""

KEEPING = (
    "run",
    "train",
    "train-head",
    "pretrain",
    "bench navigation",
    "bench localization",
    "bench encoder",
    "scenes generate",
    "scenes export",
    "scenes convert",
)
"""Commands that write what they do piece by piece: one that is stopped keeps what was finished."""

EXAMPLES = """\
examples:
  pomagym run --scene procedural:val:5 --episodes 20 --policy oracle --out results/oracle
  pomagym run --scene house.glb --episodes val.json.gz --policy random --json
  pomagym bench navigation --scene procedural:val --episodes 50 --out results/controls
  pomagym view results/oracle"""


@warning_lines()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"pomagym {version('pomagym')}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        return _fail(f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}")
    before = _end_on_sigterm()
    config = None
    try:
        command = importlib.import_module(f"pomagym.{name.replace('-', '_')}")
        config = _parse(name, command.Config, rest)
        return command.execute(config)
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt as stop:
        return _stopped(stop, _keeps(name, rest, config))
    except SystemError as error:  # what comes of an interrupt at the very moment that numba's code returns
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        return _stopped(error.__cause__, _keeps(name, rest, config))
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:  # numba's cache, for one, says it so
        if error.errno not in DISK_FULL:
            raise
        return _fail(
            f"{error.filename or 'a file'} cannot be written ({error.strerror}); make room and go on"
        )
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM, as of a batch system: handled wherever Ctrl-C is."""


def _keeps(name: str, rest: Sequence[str], config: Any) -> bool:
    """Whether a command that is stopped leaves something that the same command goes on from."""
    if getattr(config, "query", None) == "text":  # the localisation that is measured in one piece
        return False
    return name in KEEPING or " ".join([name, *rest[:1]]) in KEEPING


def _stopped(stop: KeyboardInterrupt, keeps: bool) -> int:
    """Say what stopped the command, and what is left of its work; returns the exit code."""
    name, number = (
        ("SIGTERM", signal.SIGTERM) if isinstance(stop, _TerminatedError) else ("Ctrl-C", signal.SIGINT)
    )
    left = "what was finished is kept" if keeps else "nothing was finished, the same command begins anew"
    _say(f"pomagym: stopped by {name}; {left}")
    return 128 + number


def _end_on_sigterm() -> Any:
    """Let SIGTERM end a command as Ctrl-C does; returns the handler before, None where there can be none."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first one is enough: let us tidy up
        raise _TerminatedError

    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, end)


def _parse(name: str, config: Any, arguments: list[str]) -> Any:
    """The config that the flags describe; bad flags raise `UserError` with tyro's finding in one line."""
    import tyro

    parts = _parts(config)
    if parts and arguments[:1] in (["-h"], ["--help"]):
        print(_overview(name, config))
        raise SystemExit(0)
    if parts and arguments[:1] not in ([part] for part in parts):
        found = f"found {arguments[0]!r}" if arguments else "found nothing"
        raise UserError(f"pomagym {name} is followed by {' or '.join(parts)}, {found}")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                quiet(config),
                prog=f"pomagym {name}",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
    command = " ".join(["pomagym", name, *(arguments[:1] if parts else ())])
    raise UserError(f"{_finding(complaint.getvalue())} (flags: {command} --help)")


_PLAINER = (
    (r"Error parsing [A-Z]\w*: ", ""),
    (r"Error parsing (?:__tyro-dummy-inner__\.)?-*([\w.-]+):", r"--\1:"),
    (r"no type matching .* could be instantiated from .*?: - <class '\w+'>: ", ""),
    (r"invalid literal for int\(\) with base 10: ('.*')", r"\1 is no whole number"),
    (r"could not convert string to float: ('.*')", r"\1 is no number"),
)
"""What tyro and Python say of a flag, and how a person would."""


def _finding(complaint: str) -> str:
    """What tyro found wrong, in one line, without its box and the help texts below."""
    lines = [line.strip("│╭╮╰╯ ") for line in complaint.splitlines()]
    finding: list[str] = []
    for line in lines:
        if line.startswith("─") and finding:  # the rule after the finding: below it come help texts
            break
        if line and not line.startswith("─"):
            finding.append(line)
    found = " ".join(finding)
    for tyros, ours in _PLAINER:
        found = re.sub(tyros, ours, found)
    alike = [line.split()[0] for line in lines if re.match(r"--\w", line)]
    if "Perhaps you meant:" in lines and alike:
        found += f"; perhaps {alike[0]} was meant"
    return found


def _parts(config: Any) -> list[str]:
    """The parts of a command, such as ``navigation`` and ``throughput`` of ``bench``; none for most."""
    return [mark.name for part in get_args(config) for mark in get_args(part)[1:]]


def _overview(name: str, config: Any) -> str:
    """What the parts of a command do, a line and an example each; all their flags would be pages."""
    purposes, examples = [], []
    for part in get_args(config):
        kind, mark = get_args(part)[:2]
        says = inspect.cleandoc(mark.description or kind.__doc__)
        purposes.append((mark.name, says.split("\n\n")[0].replace("\n", " ")))
        shown = re.findall(rf"^ +(pomagym {name} {mark.name}\b.*(?:\\\n.*)?)", says, re.MULTILINE)
        examples += [f"  {example}" for example in shown[:1]]
    width = max(len(part) for part, _ in purposes)
    return "\n".join(
        [
            f"usage: pomagym {name} PART [flags]",
            "",
            *(f"  {part:<{width}}  {purpose}" for part, purpose in purposes),
            "",
            "For example:",
            *examples,
            "",
            f"Flags with their defaults and units: pomagym {name} PART --help",
        ]
    )


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: pomagym COMMAND [flags]",
            "",
            "Embodied navigation on point maps: Habitat's episodes and measures, no GPU, no GL.",
            "",
            "commands:",
            *lines,
            "",
            EXAMPLES,
            "",
            "Flags with their defaults and units: pomagym COMMAND --help",
        ]
    )


def _fail(message: str) -> int:
    _say("pomagym: " + " ".join(message.split()))
    return 2


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
