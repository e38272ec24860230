"""Measure every photo once and write the scan manifest."""
