"""Classify a photo as color, grayscale, sepia or toned."""
