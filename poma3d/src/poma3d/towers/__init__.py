"""Towers that turn texts and pictures into embeddings: FG-CLIP, sentence-transformers, and a small one to train."""

from poma3d.towers.protocol import ImageTower, TextTower

__all__ = ["ImageTower", "TextTower"]
