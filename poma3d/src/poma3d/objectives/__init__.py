"""What the backbone is trained for: alignment with language and images, and POMA-JEPA."""
