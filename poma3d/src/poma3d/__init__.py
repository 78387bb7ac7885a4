"""Point maps for 3D scene understanding: geometry, encoder, pretraining. Imports nothing of the harness above."""

from poma3d import forks as forks  # so that it is in place before a fork

__version__ = "0.1.0"
