"""Public Python API of stage one: one function per command, with the command's options as keyword arguments.

`import curate` offers all of them: `curate.scan_photos(...)`. Each function collects its arguments in an options object
and calls the function of the same name in the package that does the work.

- `curate.api.photos`: measure, decode or explain one photo
- `curate.api.manifests`: scan photos into a manifest, filter, merge, read and inspect manifests
- `curate.api.outputs`: packs, exports and the report page
- `curate.api.arguments`: what these functions share
"""
