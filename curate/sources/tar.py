"""List the members of a tar with the positions of their bytes, so that each member can be read without the rest."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from curate.errors import BrokenTar, NotAFile, PhotoError, UnsupportedFormat
from curate.manifest import escape
from curate.sources.entry import ListedPhoto, as_photo_error, has_photo_name, has_tar_name, modified_ns
from curate.sources.tar_headers import TarHeaders, has_data

COMPRESSED_TAR_SUFFIXES = (
    *(".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.lzma", ".tar.zst", ".tzst"),
    *(".tar.lz4", ".tar.z"),
)
COMPRESSED_TAR = "a compressed tar can't be read member by member: uncompress it to .tar"
"""The reason why a compressed tar is not listed, and what to do."""
_GNU_DUMPDIR, _GNU_LONG_NAMES, _GNU_VOLUME, _GNU_CONTINUED = b"D", b"N", b"V", b"M"
"""Types of headers that tarfile has no name for: three that are no files, and the rest of a file of another volume."""
_MAX_LINKS = 40
"""Links that are followed from one name, as in Linux."""
_MAX_PATH = 1 << 16
"""Longer targets of links are not followed."""


class _Link(NamedTuple):
    """A link that is a member of a tar."""

    member: str
    """Its name as in the tar."""
    target: str
    """The member that it names, as `_clean_name` returns names."""
    is_hard: bool
    """Whether it stands for a member that comes before it."""
    position: tuple[int, int]
    """Number of the joined tar, and offset of the header."""


def is_compressed_tar(path: str) -> bool:
    """Whether a name ends like that of a compressed tar, in upper or lower case."""
    return path.lower().endswith(COMPRESSED_TAR_SUFFIXES)


def list_members(source: str, path: str, file: str, status: os.stat_result) -> Iterator[ListedPhoto]:
    """List what `tar --ignore-zeros --list` lists: files and links of a tar, or of several that were joined.

    - A link to a member has the position of that member; one to something else is an error, if its name is a photo's.
    - Directories, devices and pipes are left out, or errors if their name is a photo's.
    - Sparse members, tars in the tar, and parts of members of other volumes are errors.
    - A tar that is cut off or damaged is one entry more with an error: the tar, or the member in which it is cut off.

    Two members can have the same name.

    Args:
        source: the tar's source, as manifest text.
        path: the tar's path below the source, as manifest text.
        file: its path for the operating system.
        status: its size, and its time, which is also that of its members.
    """
    try:
        with open(file, "rb") as stream:
            yield from list_stream_members(source, path, stream, status.st_size, modified_ns(status))
    except OSError as exc:
        yield ListedPhoto(source, path, None, None, str(as_photo_error(exc, "the tar can't be read")))


def list_stream_members(
    source: str, path: str, stream: BinaryIO, size: int, modified_ns: int | None
) -> Iterator[ListedPhoto]:
    """List the members of a tar from a seekable stream; see `list_members`.

    Args:
        source: the tar's source, as manifest text.
        path: the tar's path below the source, as manifest text.
        stream: the tar.
        size: its size in bytes.
        modified_ns: its time of change, in nanoseconds since 1970; None if it is unknown.
    """
    tar = ListedPhoto(source, path, None, modified_ns)
    headers = TarHeaders(stream, size)
    links = []
    for header in headers:
        if header.islnk() or header.issym():
            links.append(_to_link(header, headers.archive))
        else:
            yield from _list_member(tar, header)
    if links:
        yield from _resolve_links(tar, links, TarHeaders(stream, size))
    if headers.damaged_at is not None:
        yield _damaged(tar, headers)


def _list_member(tar: ListedPhoto, header: tarfile.TarInfo) -> Iterator[ListedPhoto]:
    """The entry of a member that is not a link; nothing for what is no file and has no photo's name."""
    if header.type in (_GNU_DUMPDIR, _GNU_LONG_NAMES, _GNU_VOLUME):
        return
    name = _member_path(tar, header.name)
    if not has_data(header):
        if has_photo_name(name):
            yield _failed(tar, header.name, NotAFile("a folder, pipe or device with a photo's name"))
    elif header.issparse():
        yield _failed(tar, header.name, UnsupportedFormat("a sparse member is not supported: unpack the tar"))
    elif header.type == _GNU_CONTINUED:
        yield _failed(tar, header.name, UnsupportedFormat("it begins in another volume of the tar: join the volumes"))
    elif has_tar_name(name) or is_compressed_tar(name):
        yield _failed(tar, header.name, UnsupportedFormat("a tar in a tar is not read: unpack the outer one"))
    else:
        yield replace(tar, path=name, bytes=header.size, offset=header.offset_data)


def _damaged(tar: ListedPhoto, headers: TarHeaders) -> ListedPhoto:
    """The entry for the damage of a tar."""
    cut = headers.truncated
    if cut is not None and has_photo_name(cut.name):
        text = f"the tar is cut off in this member, at byte {headers.damaged_at}"
        return _failed(tar, cut.name, BrokenTar(f"{text}: copy the tar again, then scan again"))
    has_members = headers.count or cut is not None
    text = f"cut off or damaged at byte {headers.damaged_at}" if has_members else "damaged, compressed or not a tar"
    return replace(tar, modified_ns=None, error=str(BrokenTar(f"{text}: copy it again, then scan again")))


def _to_link(header: tarfile.TarInfo, archive: int) -> _Link:
    target = header.linkname
    if header.issym():
        target = posixpath.join(posixpath.dirname(header.name), target)
    return _Link(header.name, _clean_name(target), header.islnk(), (archive, header.offset))


def _resolve_links(tar: ListedPhoto, links: list[_Link], headers: TarHeaders) -> Iterator[ListedPhoto]:
    """The entries of links, from the members that they lead to; these are looked for in the tar once more.

    Of several members of one name, a symbolic link leads to the last one, and a hard link to the last one before it;
    of joined tars, those of the link's own tar come first.
    """
    targets = {_clean_name(link.member): link.target for link in links}
    resolved = [_follow_links(link.target, targets) for link in links]
    wanted = set(resolved)
    members: defaultdict[str, list[tuple[tuple[int, int], ListedPhoto]]] = defaultdict(list)
    for header in headers:
        name = _clean_name(header.name)
        if name in wanted and has_data(header):
            position = headers.archive, header.offset
            members[name].extend((position, photo) for photo in _list_member(tar, header))
    for link, name in zip(links, resolved, strict=True):
        found = [member for member in members[name] if not link.is_hard or member[0] < link.position]
        own = [member for member in found if member[0][0] == link.position[0]]
        if found:
            yield replace((own or found)[-1][1], path=_member_path(tar, link.member))
        elif has_photo_name(link.member):
            text = f"a link to {escape(link.target)}, which is no file of this tar: unpack the tar beside that file"
            yield _failed(tar, link.member, NotAFile(text))


def _follow_links(path: str, targets: Mapping[str, str]) -> str:
    """The path without links in it, also without links to folders; any path on a cycle of links."""
    for _ in range(_MAX_LINKS):
        parts = path.split("/")
        prefixes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        link = next((prefix for prefix in prefixes if prefix in targets), None)
        if link is None or targets[link] == link or len(path) > _MAX_PATH:
            break
        path = _clean_name(targets[link] + path.removeprefix(link))
    return path


def _clean_name(name: str) -> str:
    """A member's name or a link's target with which names can be compared.

    >>> _clean_name("./a/../b.jpg"), _clean_name("/b.jpg")
    ('b.jpg', 'b.jpg')
    """
    return posixpath.normpath(name).lstrip("/")


def _member_path(tar: ListedPhoto, name: str) -> str:
    """The path of a member below the source, as manifest text."""
    return f"{tar.path}/{escape(name.removeprefix('./'))}".replace("\0", r"\x00")


def _failed(tar: ListedPhoto, name: str, error: PhotoError) -> ListedPhoto:
    """The entry of a member that can't be read."""
    return replace(tar, path=_member_path(tar, name), modified_ns=None, error=str(error))
