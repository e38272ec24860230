"""Which photos to colorize, and where each picture goes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import SourceError, UsageError
from curate.files import check_writable, write_errors
from curate.image.formats import SNIFF_BYTES, looks_like_photo
from curate.manifest import escape, unescape
from curate.sources import ListedPhoto, list_photos, locate_photo

ROWS_AT_ONCE = 10_000
PLACED = pa.schema(
    [
        ("source", pa.large_string()),
        ("path", pa.large_string()),
        ("bytes", pa.int64()),
        ("error", pa.string()),
        ("offset", pa.int64()),
        ("is_below", pa.bool_()),
    ]
)
"""Photos to colorize; `is_below` where one was found below a source rather than named itself."""


@dataclass(frozen=True, slots=True)
class ColorizeJob:
    """One photo and the place of its picture."""

    photo: ListedPhoto
    target: Path

    def name(self) -> str:
        """What people know the photo by, as manifest text."""
        return f"{self.photo.source}/{self.photo.path}" if self.photo.source else self.photo.path


class ColorizeJobs:
    """Many jobs in little memory: an Arrow table of photos, from which each job is made when its turn comes.

    Args:
        photos: columns as `PLACED`.
        out: folder for the pictures.
        roots: as `plan_outputs` takes them.
    """

    def __init__(self, photos: pa.Table, out: Path, roots: Sequence[Path]) -> None:
        self.photos, self.out, self.roots = photos, out, roots
        self.sources = set(pc.unique(photos["source"].filter(photos["is_below"])).to_pylist())

    def __len__(self) -> int:
        return int(self.photos.num_rows)

    def __iter__(self) -> Iterator[ColorizeJob]:
        for batch in self.photos.to_batches():
            for row in batch.to_pylist():
                is_below = row.pop("is_below")
                photo = ListedPhoto(modified_ns=None, **row)
                yield ColorizeJob(_moved(photo, self.roots), self._target(photo, is_below))

    def _target(self, photo: ListedPhoto, is_below: bool) -> Path:
        start = self.out / _last(photo.source) if len(self.sources) > 1 and is_below else self.out
        below = [part for part in unescape(photo.path).split("/") if part not in ("", ".", "..")]  # tars hold any name
        if not below or "\0" in below[-1]:
            raise UsageError(f"{photo.path!r} can't be a picture's name: leave that photo out")
        return _named(start.joinpath(*below) if is_below else start / below[-1])


def plan_outputs(given: Sequence[Path], out: Path, roots: Sequence[Path] = ()) -> ColorizeJobs:
    """Every photo of some files, folders, tars and manifests, with a place below `out` that no other has.

    A file goes to its name, a folder's photos keep their tree, a manifest's the path below their source. Where several
    folders or sources are given, each gets a folder of its name. JPEGs stay JPEG, PNGs PNG; anything else becomes a PNG
    whose name keeps the old suffix: `a.tif` becomes `a.tif.png`, so that it isn't `a.webp`'s too.

    Args:
        given: what to colorize.
        out: folder for the pictures.
        roots: folders to look in for photos that aren't where a manifest says; their pictures' places stay the same.

    Raises:
        SourceError: there is no photo, or a folder can't be listed.
        ManifestError: a manifest can't be read.
        UsageError: two photos would get one place, a photo would be overwritten by its own picture, or `out` can't be
            written.
    """
    jobs = ColorizeJobs(_table(_found(given, out)), out, roots)
    if not len(jobs):
        raise SourceError(f"no photo in {', '.join(escape(str(path)) for path in given)}: name photos or their folder")
    if len(jobs.sources) != len({_last(source) for source in jobs.sources}):
        raise UsageError("two of these folders have one name: colorize them one by one, each into its own -o")
    with write_errors(out, UsageError, "-o"):
        check_writable(out / "picture")
    _check_places(jobs)
    return jobs


def _check_places(jobs: ColorizeJobs) -> None:
    taken: set[int] = set()
    for job in jobs:
        place = hash(job.target)  # a number takes a fourth of the path's memory
        if place in taken:
            others = [other.name() for other in jobs if other.target == job.target]
            if len(others) > 1:
                raise UsageError(f"{others[1]} and {others[0]} would both become {job.target}: colorize one elsewhere")
        if _is_same(job):
            raise UsageError(f"{job.target} would overwrite the photo itself: choose another folder with -o")
        taken.add(place)


def _table(found: Iterator[tuple[ListedPhoto, bool]]) -> pa.Table:
    parts = []
    while rows := list(islice(found, ROWS_AT_ONCE)):
        columns = {name: [getattr(photo, name) for photo, _ in rows] for name in PLACED.names[:-1]}
        parts.append(pa.table(columns | {"is_below": [is_below for _, is_below in rows]}, schema=PLACED))
    return pa.concat_tables(parts) if parts else PLACED.empty_table()


def _found(given: Sequence[Path], out: Path) -> Iterator[tuple[ListedPhoto, bool]]:
    """Every photo, and whether it was found below a source rather than named itself."""
    for path in given:
        if path.suffix == ".parquet":
            yield from ((photo, True) for photo in _in_manifest(path))
        elif path.is_dir() or path.suffix.lower() == ".tar":
            listed = list_photos([path], exclude=[out])
            yield from ((photo, True) for photo in listed if photo.has_photo_name or _looks_like_photo(photo))
        else:
            folder, name = os.path.split(path)
            yield ListedPhoto(escape(folder), escape(name), None, None), False


def _in_manifest(path: Path) -> Iterator[ListedPhoto]:
    columns = ("source", "path", "bytes", "tar_offset")
    for batch in manifest.read_manifest(path, required=columns[:2], columns=columns).table.to_batches(ROWS_AT_ONCE):
        for row in batch.to_pylist():
            yield ListedPhoto(row["source"], row["path"], row.get("bytes"), None, offset=row.get("tar_offset"))


def _moved(photo: ListedPhoto, roots: Sequence[Path]) -> ListedPhoto:
    """As it lies now; unchanged where it still is, or is nowhere: then reading it fails, and the rest goes on."""
    if not roots or os.path.isfile(photo.open_path()):
        return photo
    place = locate_photo(photo.source, photo.path, roots, offset=photo.offset)
    below = replace(photo, source="").open_path()
    return photo if place is None else replace(photo, source=escape(place.removesuffix(f"/{below}")))


def _last(source: str) -> str:
    return PurePath(unescape(source)).name


def _is_same(job: ColorizeJob) -> bool:
    """Whether a picture's place is its photo's."""
    if job.photo.offset is not None or not os.path.exists(job.target):
        return False
    place = job.photo.open_path()
    return os.path.exists(place) and os.path.samefile(job.target, place)


def _looks_like_photo(found: ListedPhoto) -> bool:
    try:
        with open(found.open_path(), "rb") as file:
            file.seek(found.offset or 0)
            return looks_like_photo(file.read(SNIFF_BYTES))
    except OSError:
        return False


def _named(place: Path) -> Path:
    """A photo's name as its picture's.

    >>> [str(_named(Path(name))) for name in ("a.JPG", "a.png", "a.tif", "a")]
    ['a.JPG', 'a.png', 'a.tif.png', 'a.png']
    """
    if place.suffix.lower() in (".jpg", ".jpeg", ".png"):
        return place
    return place.with_name(place.name + ".png")
