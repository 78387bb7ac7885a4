"""The house itself: floors, packaging, and the traps that the layout sets."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _python(code: str, cwd: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("place", [ROOT, ROOT / "poma3d", ROOT / "tests"])
def test_the_poma3d_folder_does_not_shadow_the_package(place: Path) -> None:
    """From the repository root, ``import poma3d`` must find the package, not the folder of that name."""
    found = _python("import poma3d; print(poma3d.__file__)", place)
    assert Path(found) == ROOT / "poma3d" / "src" / "poma3d" / "__init__.py"


def test_every_floor_imports_only_floors_below() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 kept, 0 broken" in result.stdout


def test_environments_are_declared_to_tools_that_list_plugins() -> None:
    assert any(point.value.startswith("envs.") for point in entry_points(group="gymnasium.envs"))


@pytest.mark.parametrize("before", ["import pomagym", "import envs", ""])
def test_gymnasium_makes_our_environments(before: str) -> None:
    """After `import pomagym`, or in one string where only a string can be given (vector envs, config files)."""
    name = "pomagym/PointNav-v0" if before else "pomagym:pomagym/PointNav-v0"
    code = (
        f"import gymnasium; {before}\nprint(gymnasium.spec({name!r}).id)"
        if before
        else (f"import gymnasium\nenv = gymnasium.make({name!r}, size=8)\nprint(env.spec.id)")
    )
    assert _python(code, ROOT / "tests") == "pomagym/PointNav-v0"


def test_importing_the_package_stays_light() -> None:
    """Neither registration nor the command line's help may drag in the ray caster, numba or torch."""
    code = (
        "import sys, pomagym.main;"
        "print([m for m in ('torch', 'numba', 'trimesh', 'matplotlib', 'rerun', 'scipy') if m in sys.modules])"
    )
    assert _python(code, ROOT / "tests") == "[]"
