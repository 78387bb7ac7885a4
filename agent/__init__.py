"""The embodied agent: what meets an environment, acts, and remembers."""
