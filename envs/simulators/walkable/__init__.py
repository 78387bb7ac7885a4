"""The walkable surface: built from triangles as Recast builds it, asked as Detour asks it."""
