"""Policies of one's own: each finds what lies beside it, and a run notices when that changes."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from benchmarks.navigation_run import NavigationRun
from policies.loading import open_policy, policy_sha256
from poma3d.errors import FileError, SettingError

POLICY = """\
import model

class Mine:
    {files}
    def reset(self, env, rng):
        import late
        self.late = late.WHO
    def act(self, observation):
        return model.WHO
"""


def write_policy(folder: Path, who: str, files: str = "") -> str:
    """A policy that imports two modules from its folder, one of them late."""
    folder.mkdir()
    (folder / "own.py").write_text(POLICY.format(files=files or "pass"))
    for name in ("model", "late"):
        (folder / f"{name}.py").write_text(f"WHO = {who!r}\n")
    return f"{folder}/own.py:Mine"


@pytest.fixture(autouse=True)
def clean_imports():
    """Leave Python's modules and its path as they were."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        ours = name.partition(".")[0] in ("model", "late", "package", "spread", "library")
        if ours or name.startswith("pomagym_policy_"):
            del sys.modules[name]


def test_modules_of_one_name_are_each_policys_own(tmp_path: Path) -> None:
    specs = {who: write_policy(tmp_path / who, who) for who in ("first", "second")}
    for who in ("first", "second", "first"):
        policy = open_policy(specs[who])
        policy.reset(None, None)  # type: ignore[arg-type]
        assert (policy.act({}), policy.late) == (who, who)  # type: ignore[attr-defined]


def test_a_module_taken_from_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "model.py").write_text("WHO = 'here'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    with pytest.raises(FileError, match=r"imports 'model', and Python took .*here.model\.py for it"):
        open_policy(write_policy(tmp_path / "mine", "mine"))


def test_what_a_policy_imports_and_reads_is_in_its_hash(tmp_path: Path) -> None:
    spec = write_policy(tmp_path / "mine", "first", 'files: list = ["weights.pt"]')
    weights = tmp_path / "mine" / "weights.pt"
    weights.write_bytes(b"trained")
    (tmp_path / "mine" / "model.py").write_text("from package import inner\nWHO = inner.WHO\n")
    (tmp_path / "mine" / "package").mkdir()
    (tmp_path / "mine" / "package" / "inner.py").write_text("WHO = 'first'\n")
    (tmp_path / "mine" / "unused.py").write_text("x = 1\n")
    before = policy_sha256(spec)
    assert policy_sha256(spec) == before
    for name in ("own.py", "model.py", "late.py", "package/inner.py", "weights.pt"):
        path = tmp_path / "mine" / name
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        assert policy_sha256(spec) != before, name
        path.write_bytes(content)
        assert policy_sha256(spec) == before
    (tmp_path / "mine" / "unused.py").write_text("x = 2\n")
    assert policy_sha256(spec) == before
    elsewhere = (tmp_path / "mine").rename(tmp_path / "moved")
    assert policy_sha256(f"{elsewhere}/own.py:Mine") == before  # where it lies is no part of it
    (elsewhere / "weights.pt").unlink()
    with pytest.raises(FileError, match=r"weights\.pt"):
        policy_sha256(f"{elsewhere}/own.py:Mine")


def test_a_policy_alone_has_its_files_hash(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("import json\nimport numpy\nfrom agent import rollout\n\nclass Mine:\n    pass\n")
    assert policy_sha256(f"{path}:Mine") == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_package_counts_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "spread"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "own.py").write_text("from .net import WHO\n\nclass Mine:\n    pass\n")
    (package / "net.py").write_text("WHO = 1\n")
    monkeypatch.chdir(tmp_path)
    before = policy_sha256("spread.own:Mine")
    (package / "net.py").write_text("WHO = 2\n")
    assert policy_sha256("spread.own:Mine") != before


def test_a_package_without_init_counts_and_a_librarys_sources_do_not(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    (home / "package" / "deep").mkdir(parents=True)
    (home / "gymnasium").mkdir()
    (home / "gymnasium" / "setup.py").write_text("x = 1\n")
    (home / "package" / "deep" / "model.py").write_text("WHO = 1\n")
    text = "import gymnasium\nfrom package.deep.model import WHO\n"
    method = "    def {}(self, *_):\n        return WHO\n"
    (home / "own.py").write_text(text + "class Mine:\n" + method.format("reset") + method.format("act"))
    spec = f"{home}/own.py:Mine"
    assert open_policy(spec).act({}) == 1
    before = policy_sha256(spec)
    (home / "gymnasium" / "setup.py").write_text("x = 2\n")
    assert policy_sha256(spec) == before
    (home / "package" / "deep" / "model.py").write_text("WHO = 2\n")
    assert policy_sha256(spec) != before


def test_of_an_installed_policy_its_own_package_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "site-packages"
    for name in ("spread", "library"):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text("")
    (home / "spread" / "own.py").write_text("import library\n\nclass Mine:\n    pass\n")
    monkeypatch.syspath_prepend(str(home))
    before = policy_sha256("spread.own:Mine")
    (home / "library" / "__init__.py").write_text("x = 1\n")
    assert policy_sha256("spread.own:Mine") == before
    (home / "spread" / "__init__.py").write_text("x = 1\n")
    assert policy_sha256("spread.own:Mine") != before


def test_files_that_a_class_takes_over_must_be_its_own(tmp_path: Path) -> None:
    spec = write_policy(tmp_path / "mine", "first", 'files = ["a.pt"]')
    with open(tmp_path / "mine" / "own.py", "a") as file:
        file.write("\n\nclass Heir(Mine):\n    pass\n")
    assert open_policy(spec)
    with pytest.raises(
        SettingError, match=r"Heir reads a\.pt, .*write files = \['a\.pt'\] into the body of Heir"
    ):
        open_policy(spec.replace(":Mine", ":Heir"))


def test_files_that_are_no_list_are_refused(tmp_path: Path) -> None:
    spec = write_policy(tmp_path / "mine", "first", 'files = glob("*.pt")')
    with pytest.raises(SettingError, match=r"Mine\.files must be a plain list"):
        policy_sha256(spec)


def test_a_run_is_another_one_with_other_weights(tmp_path: Path) -> None:
    spec = write_policy(tmp_path / "mine", "first", 'files = "weights.pt"')
    weights = tmp_path / "mine" / "weights.pt"
    found = []
    for content in (b"a", b"b", b"a"):
        weights.write_bytes(content)
        found.append(NavigationRun("procedural:val:1", 1, policy=spec).as_config())
    assert found[0] == found[2] != found[1]
