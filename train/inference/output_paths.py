"""Which photos to colorize, and the path of each picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import OutputError, PhotoError, SourceError, UsageError
from curate.files import check_writable, write_errors
from curate.image.formats import looks_like_photo
from curate.manifest import escape, unescape
from curate.sources import ListedPhoto, has_container_name, has_images, list_photos, locate_photo, read_listed_photo
from curate.sources.listing.sorting import sort_photos
from curate.sources.tar.stream import TarStream
from curate.unicode import find_path

BATCH_ROWS = 10_000
JOB_SCHEMA = pa.schema(
    [
        ("source", pa.large_string()),
        ("path", pa.large_string()),
        ("bytes", pa.int64()),
        ("error", pa.string()),
        ("offset", pa.int64()),
        ("sha256", pa.string()),
        ("is_below", pa.bool_()),
    ]
)
"""Photos to colorize: the fields of `ListedPhoto`, the hash in the manifest that they are from, and whether a photo was
found below a source or given by name."""
_FoundPhoto = tuple[ListedPhoto, str | None, bool]
"""A photo, its hash in a manifest, and whether it was found below a source (True) or given by name."""


@dataclass(frozen=True, slots=True)
class ColorizeJob:
    """One photo and the path of its picture."""

    photo: ListedPhoto
    target: Path
    sha256: str | None = None
    """Of the photo when it was scanned, hex digits; None if it is not from a manifest."""

    def name(self) -> str:
        """Return source and path of the photo, escaped as in manifests."""
        return f"{self.photo.source}/{self.photo.path}" if self.photo.source else self.photo.path


class ColorizeJobs:
    """Many jobs in little memory: an Arrow table of photos, from which each job is made when it is needed.

    Args:
        photos: columns of `JOB_SCHEMA`.
        out: folder for the pictures.
        roots: folders to look in for photos that have moved.
    """

    def __init__(self, photos: pa.Table, out: Path, roots: Sequence[Path]) -> None:
        self.photos, self.out, self.roots = photos, out, roots
        self.sources = set(pc.unique(photos["source"].filter(photos["is_below"])).to_pylist())

    def __len__(self) -> int:
        return int(self.photos.num_rows)

    def __iter__(self) -> Iterator[ColorizeJob]:
        for batch in self.photos.to_batches():
            for row in batch.to_pylist():
                is_below, sha256 = row.pop("is_below"), row.pop("sha256")
                photo = ListedPhoto(modified_ns=None, **row)
                yield ColorizeJob(_relocate(photo, self.roots), self._target(photo, is_below), sha256)

    def _target(self, photo: ListedPhoto, is_below: bool) -> Path:
        base = self.out / _folder_name(photo.source) if len(self.sources) > 1 and is_below else self.out
        # The names in a tar or ZIP are arbitrary: without these parts none leads out of the folder.
        parts = [part for part in unescape(photo.path).split("/") if part not in ("", ".", "..")]
        if not parts or "\0" in parts[-1]:
            raise UsageError(f"{photo.path!r} can't be the name of a picture: leave that photo out")
        return _picture_path(base.joinpath(*parts) if is_below else base / parts[-1])


def plan_outputs(given: Sequence[Path], out: Path, roots: Sequence[Path] = ()) -> ColorizeJobs:
    """Return the photos of files, folders, containers and manifests, each with its own picture path below `out`.

    A single file's picture gets the file's name, photos of a folder or container keep their tree, those of a manifest
    their path below the source. With several folders or sources, each gets a folder of its name. JPEGs stay JPEGs and
    PNGs stay PNGs. Anything else becomes a PNG whose name keeps the old suffix, `a.tif` becomes `a.tif.png`, so that
    `a.tif` and `a.webp` don't get the same name.

    Args:
        given: what to colorize.
        out: folder for the pictures.
        roots: folders to look in for photos that are no longer where a manifest says; picture paths don't change.

    Raises:
        SourceError: there are no photos, or a folder can't be listed.
        ManifestError: a manifest can't be read.
        UsageError: two photos would get the same path, or a picture would overwrite its photo.
        OutputError: `out` can't be written.
    """
    jobs = ColorizeJobs(_make_table(_list_photos(given, out)), out, roots)
    if not len(jobs):
        raise SourceError(f"no photo in {', '.join(escape(str(path)) for path in given)}: name photos or their folder")
    if len(jobs.sources) != len({_folder_name(source) for source in jobs.sources}):
        raise UsageError("two of these folders have the same name: colorize them one by one, each into its own -o")
    with write_errors(out, OutputError, "-o"):
        check_writable(out / "picture")
    _check_targets(jobs)
    return jobs


def _check_targets(jobs: ColorizeJobs) -> None:
    hashes: set[int] = set()  # a quarter of the memory of the paths
    for job in jobs:
        target_hash = hash(job.target)
        if target_hash in hashes:  # the same path, or, rarely, another one with the same hash
            same = [entry.name() for entry in jobs if entry.target == job.target]
            if len(same) > 1:
                raise UsageError(
                    f"{same[0]} and {same[1]} would both become {job.target}: colorize one of them into another -o"
                )
        if _is_photo_itself(job):
            raise UsageError(f"{job.target} would overwrite the photo itself: choose another folder with -o")
        hashes.add(target_hash)


def _make_table(found: Iterator[_FoundPhoto]) -> pa.Table:
    parts = []
    while rows := list(islice(found, BATCH_ROWS)):
        photos, sha256s, is_below = zip(*rows, strict=True)
        columns = {name: [getattr(photo, name) for photo in photos] for name in JOB_SCHEMA.names[:-2]}
        parts.append(pa.table(columns | {"sha256": sha256s, "is_below": is_below}, schema=JOB_SCHEMA))
    return pa.concat_tables(parts) if parts else JOB_SCHEMA.empty_table()


def _list_photos(given: Sequence[Path], out: Path) -> Iterator[_FoundPhoto]:
    for path in (Path(find_path(str(name))) for name in given):
        if path.suffix == ".parquet" and not has_images(str(path)):
            yield from _read_manifest(path)
        elif path.is_dir() or has_container_name(path.name):
            for entry in list_photos([path], exclude=[out]):
                yield from ((photo, None, True) for photo in _photos_of(entry))
        else:
            folder, name = os.path.split(path)
            yield ListedPhoto(escape(folder), escape(name), None, None), None, False


def _photos_of(photo: ListedPhoto) -> Iterator[ListedPhoto]:
    """An entry if it is a photo; the photos of a compressed tar, in its order.

    An entry with an error, such as a tar or ZIP that is cut off, is reported as a failed photo.
    """
    if not photo.is_stream:
        if photo.has_photo_name or photo.error or _has_content(photo):
            yield photo
        return
    stream = TarStream(photo)
    members = [
        member
        for member, head in stream.members(lambda _, __: False, max_bytes=0)
        if member.error or member.has_photo_name or looks_like_photo(head)
    ]
    links = stream.resolve_links([member for member in members if not member.error])
    yield from sorted(sort_photos([*members, *links]), key=lambda member: member.offset or 0)


def _read_manifest(path: Path) -> Iterator[_FoundPhoto]:
    columns = ("source", "path", "bytes", "tar_offset", "sha256")
    for batch in manifest.read_manifest(path, required=columns[:2], columns=columns).table.to_batches(BATCH_ROWS):
        for row in batch.to_pylist():
            photo = ListedPhoto(row["source"], row["path"], row.get("bytes"), None, offset=row.get("tar_offset"))
            yield photo, row.get("sha256"), True


def _has_content(photo: ListedPhoto) -> bool:
    try:
        _, data = read_listed_photo(photo, lambda _: False, max_bytes=0)
    except PhotoError:
        return False
    return looks_like_photo(data)


def _relocate(photo: ListedPhoto, roots: Sequence[Path]) -> ListedPhoto:
    """Return the photo at its current location; unchanged if it has not moved, or if it is not found."""
    if not roots or os.path.isfile(photo.open_path()):
        return photo
    location = locate_photo(photo.source, photo.path, roots, offset=photo.offset)
    if location is None:
        return photo
    parts = photo._replace(source="").open_path().count("/") + 1  # by number: the names may have the other normal form
    return photo._replace(source=escape(location.rsplit("/", parts)[0]))


def _folder_name(source: str) -> str:
    return PurePath(unescape(source)).name


def _is_photo_itself(job: ColorizeJob) -> bool:
    if job.photo.offset is not None or not os.path.exists(job.target):
        return False
    location = job.photo.open_path()
    return os.path.exists(location) and os.path.samefile(job.target, location)


def _picture_path(photo: Path) -> Path:
    """Return the path of a photo's picture.

    >>> [str(_picture_path(Path(name))) for name in ("a.JPG", "a.png", "a.tif", "a")]
    ['a.JPG', 'a.png', 'a.tif.png', 'a.png']
    """
    if photo.suffix.lower() in (".jpg", ".jpeg", ".png"):
        return photo
    return photo.with_name(photo.name + ".png")
