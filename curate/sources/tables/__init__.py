"""Parquet and Arrow files: lists the images in their columns, and reads these and the other columns.

columns.py     finds the columns of images
parquet.py     reads values of a Parquet file
flatbuffer.py  reads the metadata of an Arrow file
arrow.py       reads values of an Arrow file at their positions
listing.py     `list_table_rows`: the images with their positions
reader.py      reads images, and the other columns of their rows
"""
