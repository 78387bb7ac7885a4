"""Pretraining of the backbone: a warm-up of alignment alone, then alignment with POMA-JEPA."""
