"""Whether a simulator keeps its contract and agrees with real Habitat: Gymnasium's env checker, for
simulators.

From the command line: ``python -m envs.simulators.check SCENE [--recording NAME.npz]``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.embodiment import AgentSpec
from envs.simulators.contract import BrokenContractError, Line, Probe, host
from envs.simulators.contract_render import RENDER_LINES
from envs.simulators.contract_surface import SURFACE_LINES
from envs.simulators.protocol import Simulator
from poma3d.errors import FileError, SettingError, UserError
from poma3d.pointmap import Camera, Frame, frame_from_world, world_from_pose

_DEPTH_BARS = ((0.01, 0.999, "1 cm"), (0.001, 0.995, "1 mm"))
_RECORDED = ("radius", "height", "max_climb", "max_slope", "camera_height")


@dataclass(frozen=True)
class CheckRow:
    """One line of the report."""

    what: str
    """What is promised."""
    measured: str
    """What was found."""
    bar: str
    """What is asked."""
    ok: bool
    """Whether it is reached."""
    advice: str = ""
    """Where it is not: what is wrong and how to mend it."""


@dataclass(frozen=True)
class CheckReport:
    """What `check_simulator` found; prints as a table."""

    rows: tuple[CheckRow, ...]
    """Every line, in the order it was checked."""

    @property
    def ok(self) -> bool:
        """Whether every line is reached."""
        return all(row.ok for row in self.rows)

    @property
    def failures(self) -> tuple[CheckRow, ...]:
        """The lines that are not reached."""
        return tuple(row for row in self.rows if not row.ok)

    def __str__(self) -> str:
        """An aligned table, and below it the advice for every line that is not reached."""
        cells = [("", "what", "measured", "bar")]
        cells += [("ok" if row.ok else "FAIL", row.what, row.measured, row.bar) for row in self.rows]
        widths = [max(len(row[column]) for row in cells) for column in range(4)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        same_advice: dict[str, list[str]] = {}
        for row in self.failures:
            same_advice.setdefault(row.advice, []).append(row.what)
        for advice, lines_at_fault in same_advice.items():
            text = textwrap.wrap(advice, 100, initial_indent="  ", subsequent_indent="  ")
            lines += ["", *(f"{what}:" for what in lines_at_fault), *text]
        reached = len(self.rows) - len(self.failures)
        return "\n".join([*lines, "", f"{reached} of {len(self.rows)} lines reached"])


def check_simulator(
    simulator: Simulator,
    *,
    recording: str | os.PathLike[str] | None = None,
    stop_on_failure: bool = False,
    seed: int = 0,
) -> CheckReport:
    """Run the contract of `envs.simulators.protocol` on a simulator, and compare it with a recording of
    habitat-sim.

    The simulator stays open; nothing it holds is changed.

    Args:
        simulator: any backend.
        recording: ``NAME.npz`` of the same scene, with ``NAME.json`` beside it (poses, depth, paths, steps).
        stop_on_failure: raise the first failure instead of going on.
        seed: of the poses and points that are tried.

    Returns:
        The report; `CheckReport.ok` says whether all is well.

    Raises:
        AssertionError: with ``stop_on_failure``, the first line that is not reached; its text says how to
            mend it.
        FileError: the recording is missing or damaged.
        SettingError: the recording was made with another body than the simulator's.
    """
    rows: list[CheckRow] = []
    for row in _rows(simulator, recording, seed):
        rows.append(row)
        if stop_on_failure and not row.ok:
            raise AssertionError(f"{row.what}: {row.advice} (measured {row.measured}, asked {row.bar})")
    return CheckReport(tuple(rows))


def _rows(simulator: Simulator, recording: str | os.PathLike[str] | None, seed: int) -> Iterator[CheckRow]:
    golden = None if recording is None else _read_recording(Path(recording), simulator.agent)
    probe = Probe(simulator, seed)
    for line in (*RENDER_LINES, *SURFACE_LINES):
        yield _row(line, probe)
    if golden is not None:
        yield from _depth_rows(simulator, *golden)
        yield from _surface_rows(simulator, golden[0])


def _row(line: Line, probe: Probe) -> CheckRow:
    """Check one line; whatever it raises fails that line alone."""
    try:
        return CheckRow(line.what, line.check(probe), line.bar, True)
    except BrokenContractError as error:
        return CheckRow(line.what, error.measured, line.bar, False, str(error))
    except Exception as error:  # a broken backend may raise anything; the report must still be whole
        advice = f"the check ended in {type(error).__name__}: {error}"
        return CheckRow(line.what, "error", line.bar, False, advice)


def _read_recording(path: Path, agent: AgentSpec) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description of a recording."""
    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        recorded = description["agent"]
        found = {name: getattr(agent, name) for name in _RECORDED}
        differing = [name for name in _RECORDED if not np.isclose(recorded[name], found[name])]
        missing = [name for name in ("pose_position", "pose_rotation") if name not in arrays]
        missing += [
            name for name in (f"depth_{camera}" for camera in description["cameras"]) if name not in arrays
        ]
        if missing:
            raise KeyError(*missing)
    except FileNotFoundError as error:
        raise FileError(
            error.filename or path, "there is no such file; a recording is NAME.npz and NAME.json"
        ) from error
    except Exception as error:  # zip, NumPy and JSON all fail in their own ways
        raise FileError(path, f"is no recording of habitat-sim ({type(error).__name__}: {error})") from error
    if differing:
        said = ", ".join(f"{name} {recorded[name]} (here {found[name]})" for name in differing)
        raise SettingError(
            f"{path} was recorded with another body: {said}; make the simulator with the recorded one"
        )
    return arrays, description


def _depth_rows(
    simulator: Simulator, recording: dict[str, np.ndarray], description: dict[str, Any]
) -> Iterator[CheckRow]:
    """Rendered z-depth against the recorded, for every camera."""
    position = recording["pose_position"].astype(np.float64)
    position[:, 1] += description["agent"]["camera_height"]
    poses = world_from_pose(position, recording["pose_rotation"].astype(np.float64))
    to_camera = frame_from_world(Frame.CAMERA, world_from_camera=poses)
    for name, size in description["cameras"].items():
        camera = Camera(size["height"], size["width"], float(size["hfov"]))
        try:
            depth = host(simulator.render(poses, camera, frame_from_world=to_camera).point_map)[..., 2]
            error = np.abs(depth - recording[f"depth_{name}"])
        except Exception as failure:  # as in `_row`
            advice = f"rendering the recorded poses ended in {type(failure).__name__}: {failure}"
            yield CheckRow(f"Habitat: depth, {name} camera", "error", "", False, advice)
            continue
        for within, bar, text in _DEPTH_BARS:
            share = float(np.mean(error <= within))
            worst = int(np.argmin(np.mean(error <= within, axis=(1, 2))))
            advice = (
                f"{share:.2%} of pixels lie within {text} of Habitat's z-depth; recorded pose {worst} is the"
                " worst."
                " Habitat culls back faces and keeps reversed twins, reads 0 where nothing is hit, and its"
                " depth is"
                " along the optical axis"
            )
            yield CheckRow(
                f"Habitat: depth within {text}, {name} camera",
                f"{share:.3%}",
                f"{bar:.1%}",
                share >= bar,
                advice,
            )


def _surface_rows(simulator: Simulator, recording: dict[str, np.ndarray]) -> Iterator[CheckRow]:
    """The surface's answers against the recorded."""
    from envs.simulators.surface_agreement import surface_agreement

    try:
        agreement = surface_agreement(simulator.surface, recording, simulator.agent)
    except Exception as failure:  # as in `_row`
        advice = f"asking the recorded questions ended in {type(failure).__name__}: {failure}"
        yield CheckRow("Habitat: surface", "error", "", False, advice)
        return
    for row in agreement:
        advice = (
            f"{row.measured:.2%} of the recorded answers agree ({row.explanation}); of two surfaces built"
            " from the same"
            " triangles, look first at the agent's size and the navmesh settings"
        )
        yield CheckRow(f"Habitat: {row.what}", f"{row.measured:.2%}", f"{row.bar:.0%}", row.passed, advice)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the built-in simulator on a scene; answers 0 if all is well, 1 if not, 2 for bad input."""
    from envs.simulators.open import open_simulator

    parser = argparse.ArgumentParser(prog="python -m envs.simulators.check", description=main.__doc__)
    parser.add_argument("scene", help="a mesh file, or procedural:SPLIT:SEED")
    parser.add_argument("--recording", help="NAME.npz of habitat-sim on the same scene, NAME.json beside it")
    parser.add_argument("--seed", type=int, default=0, help="of the points that are tried (default: 0)")
    parser.add_argument("--simulator", default="raycast", help="raycast, warp or habitat (default: raycast)")
    options = parser.parse_args(arguments)
    try:
        simulator = open_simulator(options.scene, backend=options.simulator)
        try:
            report = check_simulator(simulator, recording=options.recording, seed=options.seed)
        finally:
            simulator.close()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
