"""Evaluate a checkpoint on held-out photos."""
