"""Decide from measurements which photos to keep, and record every reason."""
