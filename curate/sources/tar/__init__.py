"""Tar files: lists their members, and reads them, also from a compressed tar.

headers.py   reads the headers of a tar, also of a joined or damaged one
listing.py   `list_tar_members`: the members with their positions
stream.py    reads a compressed tar front to back
copies.py    copies the photos of compressed tars for reading in another order
"""
