"""Point maps for 3D scene understanding: geometry, encoder, pretraining. Imports nothing of the harness above."""

__version__ = "0.1.0"
