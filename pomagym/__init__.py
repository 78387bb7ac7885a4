"""The command line of the harness: one file a command."""

__version__ = "0.1.0"
