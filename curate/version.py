"""The version of vividset."""

__version__ = "0.1.0"
