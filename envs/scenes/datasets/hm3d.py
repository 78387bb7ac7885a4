"""HM3D's ``NAME.semantic.txt``: a line an object, with the colour that marks it in ``NAME.semantic.glb``.

``HM3D Semantic Annotations``, then lines ``id,RRGGBB,"category",region`` (HM3D-Semantics v0.1 and v0.2; read
as habitat-sim's ``HM3DSemanticScene.cpp``, MIT, does). Regions are rooms without a kind and without extent.
"""

from __future__ import annotations

import csv
from pathlib import Path

from envs.scenes.datasets.annotations import Annotations, instance
from envs.scenes.scene import Instance
from poma3d.errors import FileError

HEADER = "HM3D Semantic Annotations"
"""How the file begins."""


def parse(path: Path, text: str) -> Annotations:
    """Read the text of the file ``path``.

    Raises:
        FileError: a line of another form, or an id that occurs twice.
    """
    instances: dict[int, Instance] = {}
    colours: dict[int, int] = {}
    seen: set[int] = set()
    for number, row in enumerate(csv.reader(text.splitlines()[1:]), start=2):
        if not row:
            continue
        try:
            identifier, colour, category, region = int(row[0]), int(row[1], 16), row[2], int(row[3])
        except (ValueError, IndexError):
            raise FileError(
                path, f'line {number}: id,RRGGBB,"category",region was expected, found {",".join(row)!r}'
            ) from None
        if identifier in seen or not 0 <= colour <= 0xFFFFFF:
            raise FileError(path, f"line {number}: id {identifier} occurs twice, or its colour is none")
        seen.add(identifier)
        found = instance(category, identifier, f"region_{region}" if region >= 0 else None)
        if found is not None:
            instances[identifier] = found
            colours[colour] = identifier
    return Annotations(instances, colours)
