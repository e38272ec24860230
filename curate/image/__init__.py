"""Decode image files to sRGB pixels."""
