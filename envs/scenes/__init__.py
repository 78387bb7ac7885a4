"""Scenes: mesh files and procedural houses, as triangles with semantics."""
