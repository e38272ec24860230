"""Stage one of vividset: photos in, manifest out.

The rooms, from the door inwards (imports run one way, down this list):

- `curate.cli`: the commands, the only room that prints or picks an exit code
- `curate.scan`, `curate.select`: measure once, then decide as often as you like
- `curate.sources`, `curate.engines`, `curate.score`: which photos, how many at a time, one photo
- `curate.decode`, `curate.measures`: bytes to sRGB pixels, pixels to numbers
- `curate.manifest`: the Parquet files between the stages
- `curate.errors`: everything that can go wrong, by name
"""
