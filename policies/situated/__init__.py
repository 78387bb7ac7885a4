"""Heads that answer from a scene and a text on frozen features: the published specialist, and one that knows places."""
