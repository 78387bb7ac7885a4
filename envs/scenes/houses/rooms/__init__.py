"""How each kind of room is furnished, a kind a file."""
