"""Colorize photos with a checkpoint."""
