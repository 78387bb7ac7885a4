"""What would stop a pretraining late is found before its first step."""

from __future__ import annotations

from poma3d.errors import SettingError
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.training.settings import PretrainSettings


def check_settling(settings: PretrainSettings) -> None:
    """Settling comes last: what would stop it is found before the hours of training.

    Raises:
        SettingError: the data has not the captions that it takes.
    """
    if not settings.settle.steps or settings.text != "mini":
        return
    scenes = [scene for root in settings.data for scene in ScenePointFolder(root).scenes]
    mute = [scene for scene in scenes if scene.captions is None]
    told = sum(bool(scene.scene_captions) for scene in scenes)
    if mute or told < 2:
        found = f"{mute[0].path} has none of its views" if mute else f"{told} scenes have captions"
        raise SettingError(
            f"settling needs captions of all views and of at least 2 scenes, but {found};"
            " --settle.steps 0 leaves it out"
        )
