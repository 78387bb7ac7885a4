"""Furniture: parametric pieces of recognisable shape, a family a file."""
