"""The house itself: floors, packaging, and the traps that the layout sets."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _python(code: str, cwd: Path) -> str:
    result = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120)
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


def test_environments_are_found_by_gymnasium_after_install() -> None:
    assert any(point.value.startswith("envs.") for point in entry_points(group="gymnasium.envs"))


def test_importing_gymnasium_with_our_plugin_stays_light() -> None:
    """Registration must not drag the ray caster, numba or torch into every program that imports gymnasium."""
    code = (
        "import sys, gymnasium;"
        "assert 'pomagym/PointNav-v0' in gymnasium.registry, 'not registered';"
        "print([m for m in ('torch', 'numba', 'trimesh', 'matplotlib', 'rerun') if m in sys.modules])"
    )
    assert _python(code, ROOT / "tests") == "[]"


def test_help_of_the_command_line_is_quick_to_import() -> None:
    code = (
        "import sys, pomagym.main;"
        "print([m for m in ('torch', 'numba', 'trimesh', 'matplotlib', 'gymnasium') if m in sys.modules])"
    )
    assert _python(code, ROOT / "tests") == "[]"
