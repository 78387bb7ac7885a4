"""The list of calls into habitat-sim and habitat-lab is the stubs', the stubs hold nothing that is not used, and
the type checker refuses what is in neither."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STUBS = ROOT / "typings"
ADAPTERS = [
    *sorted((ROOT / "envs/simulators").glob("habitat*.py")),
    *sorted((ROOT / "envs/habitat_lab").glob("*.py")),
]


def stub_names() -> Iterator[str]:
    for path in sorted(set(STUBS.rglob("*.pyi")) - set((STUBS / "warp").rglob("*.pyi"))):
        module = ".".join(path.relative_to(STUBS).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                yield f"{module}.{node.name}"
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield f"{module}.{node.target.id}"
            elif isinstance(node, ast.ClassDef):
                yield f"{module}.{node.name}"
                yield from (f"{module}.{node.name}.{member}" for member in members(node))


def members(node: ast.ClassDef) -> Iterator[str]:
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name != "__init__":
            yield member.name
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            yield member.target.id
        elif isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name):
            yield member.targets[0].id


def listed_names() -> list[str]:
    text = (ROOT / "docs/habitat_calls.md").read_text()
    return re.findall(r"^\| `((?:habitat|habitat_sim|hydra)\.[\w.]+)` \|", text, re.MULTILINE)


def used_words() -> set[str]:
    """Names, attributes, keywords, imported names and strings of the adapters."""
    words: set[str] = set()
    for path in ADAPTERS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                words.add(node.attr)
            elif isinstance(node, ast.Name):
                words.add(node.id)
            elif isinstance(node, ast.keyword) and node.arg:
                words.add(node.arg)
            elif isinstance(node, ast.alias):
                words.add(node.name.rsplit(".", 1)[-1])
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                words.add(node.target.id)
    return words


def test_the_list_names_exactly_what_the_stubs_declare() -> None:
    listed = listed_names()
    assert len(listed) == len(set(listed))
    assert set(listed) == set(stub_names())


def test_the_adapters_use_every_name_of_the_list() -> None:
    from envs.embodiment import NavmeshSettings
    from envs.simulators.habitat_arguments import navmesh_fields

    # of these kinds the adapters hold objects without ever naming the class
    held = {"Agent", "SemanticCategory", "SemanticRegion", "SemanticObject", "SemanticScene", "EmbodiedTask"}
    held |= {"Registry", "SensorSuite", "SixDOFPose", "AgentState", "NavMeshSettings", "PathFinder"}
    used = used_words() | held | set(navmesh_fields(NavmeshSettings()))
    assert [name for name in listed_names() if name.rsplit(".", 1)[-1] not in used] == []


def test_navmesh_settings_are_attributes_of_habitats() -> None:
    from envs.embodiment import NavmeshSettings
    from envs.simulators.habitat_arguments import navmesh_fields

    declared = {
        name.rsplit(".", 1)[-1] for name in stub_names() if name.startswith("habitat_sim.NavMeshSettings.")
    }
    assert set(navmesh_fields(NavmeshSettings())) == declared - {"set_defaults"}


def test_the_type_checker_refuses_a_name_that_is_not_in_the_stubs(tmp_path: Path) -> None:
    pyright = Path(sys.executable).with_name("pyright")
    if not pyright.is_file():
        pytest.skip("pyright is not installed")
    (tmp_path / "wrong.py").write_text(
        "import habitat_sim\n\n\ndef ask(finder: habitat_sim.PathFinder) -> float:\n    return finder.is_navigabel\n"
    )
    (tmp_path / "pyrightconfig.json").write_text(
        f'{{"stubPath": "{STUBS}", "reportMissingModuleSource": false}}'
    )
    answer = subprocess.run(
        [pyright, "--project", str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "is_navigabel" in answer.stdout
