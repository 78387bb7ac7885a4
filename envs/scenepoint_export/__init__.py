"""From simulated scenes to ScenePoint data: views that cover them, labels, captions, one file a scene."""

from envs.scenepoint_export.export import ExportedScene, ExportSettings, export_scene, export_scenes, rooms_of

__all__ = ["ExportSettings", "ExportedScene", "export_scene", "export_scenes", "rooms_of"]
