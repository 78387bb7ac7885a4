"""The perfect recogniser beside scene retrieval: which names a text holds, and recalls computed by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from poma3d.errors import SettingError
from poma3d.evaluation.label_oracle import SMALLEST, label_recall, named, shown_names
from poma3d.scenepoint import UNKNOWN, ScenePointDataset, SceneSample

CATEGORIES = ("bed", "bookshelf", "lamp", "table", "table lamp")
ROOMS = ("bedroom", "study")
SIDE = 20


def view(**pixels: int) -> torch.Tensor:
    """A view of 20 x 20 pixels, so many of each category (``table_lamp`` for ``table lamp``), the rest unknown."""
    ids = torch.full((SIDE * SIDE,), UNKNOWN)
    start = 0
    for name, count in pixels.items():
        ids[start : start + count] = CATEGORIES.index(name.replace("_", " "))
        start += count
    return ids.reshape(SIDE, SIDE)  # (400,) -> (20, 20)


class Scenes:
    """The part of a data set that the control reads."""

    categories, room_types, settings = CATEGORIES, ROOMS, SimpleNamespace(views=2)

    def __init__(self, **scenes: tuple[list[torch.Tensor], list[int]]) -> None:
        self.scan_ids, self.scenes = list(scenes), list(scenes.values())

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, number: int) -> SceneSample:
        views, rooms = self.scenes[number]
        points = torch.zeros(2, SIDE, SIDE, 3)
        return SceneSample(
            points,
            torch.ones(2, SIDE, SIDE, dtype=torch.bool),
            ["", ""],
            "",
            self.scan_ids[number],
            "",
            torch.arange(2),
            semantics=torch.stack(views),
            rooms=torch.tensor(rooms),
        )


def recall(scenes: Scenes, said: dict[str, list[str]]) -> dict[str, float]:
    found = label_recall(cast(ScenePointDataset, cast(Any, scenes)), said)
    return {name: measure.value for name, measure in found.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A table lamp on the left.", ["table lamp"]),
        ("Tables and a lamp.", ["lamp", "table"]),
        ("Two bookshelves beside a bed.", ["bed", "bookshelf"]),
        ("The Bedroom with a TABLE.", ["bedroom", "table"]),
        ("An embedded tablet.", []),
    ],
)
def test_names_in_a_text(text: str, expected: list[str]) -> None:
    names = (*CATEGORIES, *ROOMS)
    assert sorted(names[i] for i in named(text, names)) == expected


def test_what_a_view_shows() -> None:
    enough = int(SMALLEST * SIDE * SIDE)
    scenes = Scenes(one=([view(bed=enough, table=enough - 1), view()], [1, UNKNOWN]))
    shown = shown_names(cast(ScenePointDataset, cast(Any, scenes)))
    assert shown.tolist() == [[[True, False, False, False, False, False, True], [False] * 7]]


def test_recall_by_hand() -> None:
    both, bed, table = view(bed=50, table=50), view(bed=50), view(table=50)
    scenes = Scenes(
        together=([both, view()], [0, 0]),
        apart=([bed, table], [0, 0]),
        again=([bed, view()], [0, 0]),
        bare=([view(), view()], [1, 1]),
    )
    # One view that has both beats two that have one each.
    assert recall(scenes, {"together": ["A bed and a table."]})["R@1-1"] == 1
    # Three scenes show a bed in the bedroom alike: a third; five best of four are all.
    alike = recall(scenes, {"again": ["A bed in a bedroom."]})
    assert alike["R@1-1"] == pytest.approx(1 / 3)
    assert alike["R@1-5"] == 1
    # A second utterance tells two of the three apart from the third.
    more = recall(scenes, {"apart": ["A bed in a bedroom.", "A table."]})
    assert (more["R@1-1"], more["R@5-1"]) == (pytest.approx(1 / 3), pytest.approx(1 / 2))


def test_nothing_to_ask_is_said() -> None:
    scenes = Scenes(one=([view(), view()], [0, 0]))
    with pytest.raises(SettingError, match="has an utterance"):
        recall(scenes, {"other": ["A bed."]})
