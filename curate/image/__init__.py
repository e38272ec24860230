"""Decode image files to sRGB pixels.

decode.py       `decode`: bytes of a file to upright sRGB pixels; memory errors
formats.py      which formats are supported, and how a file's first bytes are recognized
signatures.py   what a file is that is not decoded, for the error message
tiff_pages.py   which page of a TIFF is the photo; recognizes camera raw
jpeg_data.py    whether the data of a JPEG are complete
png_chunks.py   damaged chunks of PNG files
fast_paths.py   faster decoders for plain JPEG, PNG and WebP files
icc.py          ICC profiles and Pillow modes to 8-bit sRGB
"""
