"""Pairs of a colorized picture and its original, matched by their paths below two folders, without suffixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from curate.errors import SourceError, UsageError
from curate.locations import Location, RemotePath
from curate.manifest import unescape
from curate.sources import has_container_name, has_photo_name, list_photos
from train.data.dataset import PhotoDataset, load_split, photo_dataset


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures and originals, and which of them belong together."""

    pictures: PhotoDataset
    originals: PhotoDataset
    matches: list[tuple[int, int]]
    """Index of the picture and of its original, in the order of the pictures."""
    unmatched: list[str]
    """Pictures without original, by their path."""

    @classmethod
    def match(cls, pictures: PhotoDataset, originals: PhotoDataset) -> Pairs:
        """Match pictures and originals by their paths.

        The path of a picture without its suffix must be that of an original, with or without suffix: `train colorize`
        makes `a.tif.png` from `a.tif`.

        Raises:
            UsageError: two pictures have the same path without suffix, two originals fit one picture, or no picture has
                an original.
        """
        names = path_names(originals)
        by_name = {name: index for index, name in enumerate(names)}
        by_stem: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            by_stem.setdefault(_stem(name), []).append(index)
        matches: list[tuple[int, int]] = []
        unmatched: list[str] = []
        picture_of: dict[int, str] = {}
        stems: dict[str, str] = {}
        for index, name in enumerate(path_names(pictures)):
            stem = _stem(name)
            if stem in stems:
                raise _ambiguous("pictures", stems[stem], name)
            stems[stem] = name
            fits = [by_name[stem]] if stem in by_name else by_stem.get(stem, [])
            if len(fits) > 1:
                raise _ambiguous("originals", names[fits[0]], names[fits[1]])
            if not fits:
                unmatched.append(name)
                continue
            if fits[0] in picture_of:
                raise _ambiguous("pictures", picture_of[fits[0]], name)
            picture_of[fits[0]] = name
            matches.append((index, fits[0]))
        if not matches:
            raise UsageError(
                f"no picture has the path of an original: the first ones are {unmatched[0]} and {names[0]}; both must "
                "have the same path below their folders, suffixes aside"
            )
        return cls(pictures, originals, matches, unmatched)


def _ambiguous(kind: str, first: str, second: str) -> UsageError:
    return UsageError(f"two {kind}, {first} and {second}, have the same path without suffix: remove one of them")


def _stem(name: str) -> str:
    """Return a path without the suffix of a photo.

    >>> _stem("a/b.tif.png"), _stem("a/b.1")
    ('a/b.tif', 'a/b.1')
    """
    return name.removesuffix(PurePosixPath(name).suffix) if has_photo_name(name) else name


def path_names(photos: PhotoDataset) -> list[str]:
    """Return the path of each photo below its source; with several sources, after the name of the source's folder."""
    sources = photos.sources.to_pylist()
    several = len(set(sources)) > 1
    return [
        f"{PurePosixPath(unescape(source)).name}/{photos.name(index)}" if several else photos.name(index)
        for index, source in enumerate(sources)
    ]


def list_folder(path: Path, exclude: Sequence[Path] = (), advice: str = "the folder of the pictures") -> PhotoDataset:
    """Return the photos of a folder, tar or ZIP.

    Args:
        path: the folder, tar or ZIP.
        exclude: folders to leave out.
        advice: what to name instead, for error messages.

    Raises:
        SourceError: there are no photos, or it can't be listed.
    """
    if not (path.is_dir() or has_container_name(path.name)):
        wrong = "is not a folder, tar or ZIP" if path.exists() else "doesn't exist"
        raise SourceError(f"{path} {wrong}: name {advice}")
    rows = [
        {"source": photo.source, "path": photo.path, "bytes": photo.bytes, "tar_offset": photo.offset}
        for photo in list_photos([path], exclude=exclude)
        if photo.has_photo_name and photo.error is None
    ]
    if not rows:
        raise SourceError(f"no photo in {path}: name {advice}")
    schema = pa.schema(
        [("source", pa.string()), ("path", pa.string()), ("bytes", pa.int64()), ("tar_offset", pa.int64())]
    )
    return photo_dataset(pa.Table.from_pylist(rows, schema))


def load_originals(
    truth: Location, split: str, roots: Sequence[Path], exclude: Sequence[Path]
) -> tuple[PhotoDataset, str | None]:
    """Return the originals of a folder, tar, ZIP or manifest, and the manifest's sha256.

    Args:
        truth: the folder, tar, ZIP or manifest.
        split: of the manifest: `train`, `val`, `test` or `all`.
        roots: folders to look in for photos of the manifest that have moved.
        exclude: folders to leave out of a folder.

    Raises:
        SourceError: there are no photos, or the folder can't be listed.
        ManifestError: the manifest can't be read, has no photos of that split, or photos are gone or have changed.
        UsageError: a split of a folder.
    """
    if isinstance(truth, RemotePath) or truth.suffix == ".parquet":
        return load_split(truth, split, roots)
    if split != "all":
        raise UsageError(f"{truth} is a folder, which has no splits: leave out --split, or name a manifest")
    return list_folder(truth, exclude, "the folder of the originals, or a manifest"), None
