"""Pack the photos of a manifest: resize them once and store the pixels in Arrow files.

- pack: resize the photos and write the pack
- shards: the file format of the pixels
"""
