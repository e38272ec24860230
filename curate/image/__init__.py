"""Decode image files to sRGB pixels.

decode.py       `decode`: bytes of a file to upright sRGB pixels; memory errors
formats.py      which formats are supported, and how a file's first bytes are recognized
signatures.py   what a file is that is not decoded, for the error message
containers.py   archives and data files of other tools, which are not read
tiff_pages.py   which page of a TIFF is the photo; recognizes camera raw
jpeg_data.py    whether the data of a JPEG are complete
fast_paths.py   faster decoders for plain JPEG, PNG and WebP files
icc.py          ICC profiles and Pillow modes to 8-bit sRGB
color_tags.py   color spaces named without a profile: nclx, cICP, gAMA and cHRM; HDR curves
png.py          chunks of PNG files
tiff.py         TIFF layouts that Pillow misreads or refuses
tiff_tags.py    the tags of a TIFF
orientation.py  reads the orientation of a file, and turns pixels upright
"""
