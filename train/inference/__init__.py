"""Use of a trained checkpoint.

- `colorizer`: colorizes photos at full size
- `output_paths`: which photos to colorize, and where each picture is written
- `metadata`: EXIF, XMP and provenance of the pictures
- `slider_page`: photos and pictures on one HTML page, with sliders
- `upsample`: small predicted colors to full size, along the photo's edges
- `gamut`: CIELAB to sRGB without changing lightness or hue
- `onnx_export`: a checkpoint as an ONNX model
"""
