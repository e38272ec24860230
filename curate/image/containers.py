"""Recognize files that may hold many photos, but are not read: archives and data files of other tools."""

from __future__ import annotations

from pathlib import PurePosixPath

from curate.errors import UnsupportedFormat

_UNPACK = "unpack it, and scan the folder"
_EXTRACT = "write its photos as files, and scan these; or skip such files with --exclude"
_COMPRESSED = "unpack it; if it is a tar, name it .tar.gz or .tar.zst, and it is scanned"
_BY_NAME = {
    **dict.fromkeys((".7z", ".cb7"), ("a 7z archive", _UNPACK)),
    **dict.fromkeys((".rar", ".cbr"), ("a RAR archive", _UNPACK)),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".lz", ".z", ".br"), ("compressed", _COMPRESSED)),
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".he5"), ("an HDF5 file", _EXTRACT)),
    **dict.fromkeys((".tfrecord", ".tfrecords"), ("a TFRecord file", _EXTRACT)),
    **dict.fromkeys((".lmdb", ".mdb"), ("an LMDB database", _EXTRACT)),
    **dict.fromkeys((".pkl", ".pickle"), ("a Python pickle", _EXTRACT)),
    ".mat": ("a MATLAB file", _EXTRACT),
    ".npz": ("a file of NumPy arrays", _EXTRACT),
    ".rec": ("a RecordIO file", _EXTRACT),
    ".beton": ("an FFCV file", _EXTRACT),
    ".cbz": ("a ZIP", "name it .zip, and it is scanned"),
}
_ANNOTATIONS = frozenset({".h5", ".hdf5", ".mat", ".npz", ".pkl", ".pickle"})
MIN_DATA_BYTES = 1 << 20
"""Smaller files with these suffixes are annotations of a photo, such as its depth or its labels."""
_BY_CONTENT = (
    (0, b"PK\3\4", "a ZIP", "name it .zip, and it is scanned"),
    (257, b"ustar", "a tar", "name it .tar, and it is scanned"),
    (0, b"\x1f\x8b\x08", "gzip data", _COMPRESSED),
    (0, b"BZh91AY", "bzip2 data", _COMPRESSED),
    (0, b"\xfd7zXZ\0", "xz data", _COMPRESSED),
    (0, b"\x28\xb5\x2f\xfd", "zstd data", _COMPRESSED),
    (0, b"\x04\x22\x4d\x18", "lz4 data", _COMPRESSED),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\7", "a RAR archive", _UNPACK),
    (0, b"\x89HDF\r\n", "an HDF5 file", _EXTRACT),
    (0, b"MATLAB 5.0 MAT-file", "a MATLAB file", _EXTRACT),
)
_DOCUMENTS = frozenset(
    {
        *(".docx", ".docm", ".dotx", ".xlsx", ".xlsm", ".pptx", ".pptm", ".odt", ".ods", ".odp", ".odg", ".epub"),
        *(".pages", ".numbers", ".key", ".vsdx", ".xmind", ".mscz", ".kmz", ".3mf", ".usdz", ".svgz", ".emz", ".wmz"),
        *(".jar", ".war", ".apk", ".aab", ".ipa", ".whl", ".egg", ".nupkg", ".vsix", ".xpi"),
        *(".sketch", ".blend", ".als", ".dia", ".kra", ".ora", ".afdesign"),
        *(".pt", ".pth", ".ckpt", ".keras", ".npy", ".rdata", ".rds"),
    }
)
"""Suffixes of documents, programs and networks that are archives by content, but don't hold a data set of photos."""


def find_container(path: str, head: bytes, size: int | None = None) -> UnsupportedFormat | None:
    """The error of a file that may hold photos, but is not read; None for any other file.

    Args:
        path: of a file that is not a photo, by name or content.
        head: its first SNIFF_BYTES bytes (see `curate.image.formats`).
        size: in bytes; None if it is unknown.

    >>> print(find_container("a/train.h5", b""))
    UnsupportedFormat: it is an HDF5 file: write its photos as files, and scan these; or skip such files with --exclude
    >>> find_container("notes.docx", b"PK") is None
    True
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _ANNOTATIONS and size is not None and size < MIN_DATA_BYTES:
        return None
    found = _BY_NAME.get(suffix)
    if found is None and suffix not in _DOCUMENTS:
        found = next(
            ((name, advice) for start, magic, name, advice in _BY_CONTENT if head.startswith(magic, start)), None
        )
    return UnsupportedFormat(f"it is {found[0]}: {found[1]}") if found else None
