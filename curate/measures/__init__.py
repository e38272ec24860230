"""Measures of one photo: colourfulness, tone, hue, sharpness, perceptual hash. Pure functions of its pixels."""
