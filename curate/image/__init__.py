"""Decode image files to sRGB pixels.

decode.py       `decode`: bytes of a file to upright sRGB pixels; memory errors
formats.py      which formats are supported, and how a file's first bytes are recognized
fast_paths.py   faster decoders for plain JPEG, PNG and WebP files
icc.py          ICC profiles and Pillow modes to 8-bit sRGB
color_tags.py   color spaces named without a profile: nclx, cICP, gAMA and cHRM; HDR curves
png.py          chunks of PNG files
tiff.py         TIFF layouts that Pillow misreads or refuses
orientation.py  where a file says how it is to be turned, and turning it
"""
