"""A person's own policy: its file or module imported, with what lies beside it, and the hash of all that decides what
it does.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from poma3d.errors import FileError, SettingError, UserError

_OURS = ("agent", "benchmarks", "envs", "policies", "poma3d", "pomagym")
_homes: list[str] = []  # folders on Python's path by our doing


def import_code(place: str) -> ModuleType:
    """The module ``FILE.py`` or ``MODULE``; what it imports may lie in its folder, or for a module in the working one.

    Policies of several folders may each have, say, a ``model.py``: each gets its own of what it imports when it is
    itself imported. What it imports later is taken from the folder of the policy that was opened last.

    Raises:
        UserError: it is not there, or it raises while it is imported; the message holds the cause.
    """
    return _import_file(place) if place.endswith(".py") else _import_module(place)


def code_sha256(place: str, name: str) -> str:
    """sha256 (hex) of a policy's code and of what it says it reads.

    That is the file itself, the Python files it imports from its own folder, directly or through one another, and those
    that its class names in ``files = ["weights.pt"]``, from its folder on. Of a file alone it is the file's own hash.

    Args:
        place: ``FILE.py`` or ``MODULE``.
        name: the class in it.

    Raises:
        UserError: the file or module cannot be found, or it names files that cannot be read.
    """
    home, file, top = _whereabouts(place)
    files = {file, *(_files_of(home, top) if top else ())}
    if not _installed(home):  # there all else is somebody's library
        files = _with_imported(home, files)
    named = [file.parent / one for one in named_files(place, name)]
    if len(files) == 1 and not named:
        return hashlib.sha256(_content(file)).hexdigest()
    total = hashlib.sha256()
    for path in [*sorted(files), *named]:
        told = os.fsencode(os.path.relpath(path, home))
        total.update(told + f" {hashlib.sha256(_content(path)).hexdigest()}\n".encode())
    return total.hexdigest()


def _whereabouts(place: str) -> tuple[Path, Path, str]:
    """The folder that its imports begin in, its file, and the package it belongs to, if any."""
    if place.endswith(".py"):
        file = Path(place).resolve()
        return file.parent, file, ""
    found = _import_module(place).__file__
    if found is None:
        raise FileError(place, "has no file; a policy's Python module was expected")
    file = Path(found).resolve()
    depth = place.count(".") + (file.name == "__init__.py")
    return file.parents[depth], file, place.partition(".")[0]


def _with_imported(home: Path, files: set[Path]) -> set[Path]:
    """Python files and all that they import from a folder, directly or through one another."""
    found, waiting = set(files), list(files)
    while waiting:
        beside = {path for name in _imports(waiting.pop()) for path in _files_of(home, name)}
        waiting += beside - found
        found |= beside
    return found


def _files_of(home: Path, top: str) -> Iterator[Path]:
    """The Python files of a module or package of that name in a folder.

    A folder without ``__init__.py`` is a package to Python only where nothing else has its name: beside a policy may
    lie the sources of a library that is installed as well.
    """
    if top in _OURS:
        return
    if (home / top / "__init__.py").is_file():
        yield from (home / top).rglob("*.py")
    elif (home / f"{top}.py").is_file():
        yield home / f"{top}.py"
    elif (home / top).is_dir() and not _found_elsewhere(top, home):
        yield from (home / top).rglob("*.py")


def _found_elsewhere(top: str, home: Path) -> bool:
    """Whether Python's path has a module or package of that name, other than in a policy's folder."""
    if top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True
    places = [place for place in sys.path if place not in _homes and Path(place or ".").resolve() != home]
    found = importlib.machinery.PathFinder.find_spec(top, places)
    return found is not None and found.origin is not None


def _installed(home: Path) -> bool:
    """Whether a folder is one of Python's own for libraries."""
    return home.name in ("site-packages", "dist-packages")


def _imports(file: Path) -> set[str]:
    """The first parts of the names that a file imports anywhere; none where it is no Python."""
    try:
        tree = ast.parse(_content(file))
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def named_files(place: str, name: str) -> list[str]:
    """What the body of the class ``name`` says it reads, ``files = ["weights.pt"]``; read without running any code.

    Raises:
        UserError: the file or module cannot be found, or this is no plain list of names.
    """
    try:
        tree = ast.parse(_content(_whereabouts(place)[1]))
    except (SyntaxError, ValueError):
        return []
    for kind in ast.walk(tree):
        if not isinstance(kind, ast.ClassDef) or kind.name != name:
            continue
        for line in kind.body:
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            value = getattr(line, "value", None)
            if value is None or not any(isinstance(one, ast.Name) and one.id == "files" for one in targets):
                continue
            try:
                found = ast.literal_eval(value)
                return [os.fspath(one) for one in ([found] if isinstance(found, str) else found)]
            except (ValueError, TypeError):
                raise SettingError(
                    f'{place}: {name}.files must be a plain list of file names, such as ["weights.pt"]'
                ) from None
    return []


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FileError(
            file, f"cannot be read ({error.strerror}); a policy's Python file, or one it reads, was expected"
        ) from None


def _import_file(place: str) -> ModuleType:
    path = Path(place).resolve()
    if not path.is_file():
        raise FileError(place, "is not there; a policy's Python file was expected")
    name = f"pomagym_policy_{path.stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise FileError(place, "cannot be imported as Python")
    module = importlib.util.module_from_spec(found)
    _allow_imports_from(path.parent)
    sys.modules[name] = module  # dataclasses and pickling look their module up there
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        within = "; a module of a package is named MODULE:CLASS" if "relative import" in str(error) else ""
        raise FileError(place, f"cannot be imported ({cause(error)}){within}") from error
    for name in {name for file in _with_imported(path.parent, {path}) for name in _imports(file)}:
        took = getattr(sys.modules.get(name), "__file__", None)
        if took and any(_files_of(path.parent, name)) and not _lies_in(Path(took), path.parent, name):
            raise FileError(
                place,
                f"imports {name!r}, and Python took {took} for it, not the one beside it: give it another name, or"
                " start from another folder",
            )
    return module


def _import_module(name: str) -> ModuleType:
    _allow_imports_from(Path.cwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(f"the policy's module {name} cannot be imported ({cause(error)})") from error


def _allow_imports_from(folder: Path) -> None:
    """Let what lies in a folder be imported: after everything that is installed, before other policies' folders."""
    home = str(folder)
    for name, module in list(sys.modules.items()):
        file, top = getattr(module, "__file__", None), name.partition(".")[0]
        others = [
            other for other in _homes if other != home and file and _lies_in(Path(file), Path(other), top)
        ]
        if others and any(_files_of(folder, top)):
            del sys.modules[name]  # another policy's; whoever holds it keeps it
    if home in sys.path and home not in _homes:
        return
    if home not in _homes:
        _homes.append(home)
    sys.path[:] = [place for place in sys.path if place not in _homes]
    sys.path += [home, *(other for other in _homes if other != home)]


def _lies_in(file: Path, home: Path, top: str) -> bool:
    """Whether a module's file is what ``import top`` finds in a folder."""
    return file == home / f"{top}.py" or (home / top) in file.parents


def cause(error: Exception) -> str:
    """An error of someone else's code, in words."""
    return f"{type(error).__name__}: {error}"
