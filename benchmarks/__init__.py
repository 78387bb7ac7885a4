"""What is measured, and how the numbers are kept."""
