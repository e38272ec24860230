"""Measure one photo: pure functions of its pixels.

measure.py           `measure_pixels`: all measures of one photo, `Measures`; batches for a scan
colorfulness.py      `colorfulness`: metric M3 of Hasler and Süsstrunk
names.py             the names of tones and of levels of colorfulness
appearance.py        chroma, saturation, hue, lightness, clipping, sharpness
perceptual_hash.py   the fingerprint of a photo, for near-duplicates
hue_spread.py        how widely the colors of a set of pictures are spread over the hues
hash_groups.py       groups of photos with the same content or near fingerprints
tone/                whether a photo is color, grayscale, sepia or toned
"""
