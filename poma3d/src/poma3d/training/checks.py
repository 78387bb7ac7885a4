"""What would stop a pretraining late is found before its first step."""

from __future__ import annotations

from poma3d.errors import SettingError
from poma3d.scenepoint import ScenePointDataset
from poma3d.scenepoint.folder import ScenePointFolder
from poma3d.training.settings import PretrainSettings, StageSettings


def check_targets(
    settings: PretrainSettings, name: str, stage: StageSettings, dataset: ScenePointDataset
) -> None:
    """Views without a caption cost nothing and teach nothing: where none has one, alignment alone moves no weight.

    Raises:
        SettingError: there is nothing that alignment could be with, or the stage has no other objective, and its data
            no caption that it takes.
    """
    if not settings.text and not settings.image:
        raise SettingError(
            f"{name} aligns point maps with texts or pictures, beside POMA-JEPA too, and there is neither a text nor an"
            f" image tower; --text mini trains one along, and --{name}.steps 0 leaves the stage out"
        )
    of_views, of_scenes = stage.alignment.view_weight > 0, stage.alignment.scene_weight > 0
    pictures = bool(settings.image) and (of_views or of_scenes)
    if stage.objective != "alignment" or stage.alignment.region_weight > 0 or pictures:
        return
    captioned: dict[str, int] = {}  # what the stage takes captions of, and how many have some
    if of_views or (of_scenes and stage.single_views):  # a view taken as a scene has its own for both
        captioned["view"] = dataset.captioned_views
    if of_scenes and not stage.single_views:
        captioned["scene"] = dataset.captioned_scenes
    if settings.text and any(captioned.values()):
        return
    found = "its weights of views and scenes are 0"
    if captioned:
        found = f"no {' or '.join(captioned)} of {', '.join(map(str, dataset.roots))} has one"
    raise SettingError(
        f"{name} has nothing to learn from: it aligns with captions alone, and {found};"
        f" docs/scenepoint.md says where captions lie, and --{name}.steps 0 leaves the stage out"
    )


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
