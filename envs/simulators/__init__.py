"""Simulators: what renders point maps and moves on the floor. They know no task."""
