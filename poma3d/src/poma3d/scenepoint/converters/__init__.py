"""From the folders that RGB-D data sets are published in to ScenePoint, the views chosen by what they cover."""

from poma3d.scenepoint.converters.convert import ConvertedScan, ConvertSettings, convert_images, convert_scans
from poma3d.scenepoint.converters.layouts import LAYOUTS, find_scans

__all__ = ["LAYOUTS", "ConvertSettings", "ConvertedScan", "convert_images", "convert_scans", "find_scans"]
