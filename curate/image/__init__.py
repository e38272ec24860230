"""Decode image files to sRGB pixels.

decode.py       `decode`: bytes of a file to upright sRGB pixels; memory errors
formats.py      which formats are supported, and how a file's first bytes are recognized
fast_paths.py   faster decoders for plain JPEG, PNG and WebP files
icc.py          ICC profiles and Pillow modes to 8-bit sRGB
"""
