"""List the members of a ZIP with the positions of their headers, so that each member can be read without the rest."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import repeat
from typing import BinaryIO

from curate.errors import BrokenZip, FileTooLarge, NotAFile, PhotoError
from curate.sources.compression import BOMB_BYTES, BOMB_RATIO
from curate.sources.entry import ListedPhoto
from curate.sources.members import (
    MAX_LINK_BYTES,
    failed_member,
    follow_links,
    is_nested,
    link_error,
    link_target,
    member_path,
    nested_error,
    normalize_name,
)
from curate.sources.names import has_photo_name
from curate.sources.zip.directory import (
    END_RECORD_BYTES,
    END_RECORD_MAGIC,
    MAX_COMMENT_BYTES,
    UTF8_NAME,
    ZipDirectory,
    ZipEntry,
)
from curate.sources.zip.member import ZipMember, method_error
from curate.sources.zip.plain_entries import LOCAL_HEADER_BYTES, MODE_SYSTEMS, PlainEntries

_DOS = 0
"""Of systems that wrote an entry, as in APPNOTE.TXT 4.4.2."""
_DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    EOFError,
    struct.error,
    IndexError,
    OverflowError,
)
"""What `ZipDirectory` raises for a damaged directory, or for one of a newer version of ZIP."""


def list_zip_members(container: ListedPhoto, stream: BinaryIO, size: int) -> Iterator[ListedPhoto]:
    """List the files of a ZIP's central directory, and its symbolic links, in the order of the directory.

    - A link to a member has the position of that member; one to something else is an error, if its name is a photo's.
    - Directories, devices and pipes are left out, or errors if their name is a photo's.
    - Encrypted members, unknown methods of compression, and tars and ZIPs in the ZIP are errors.
    - A ZIP without a valid directory is one entry with an error. So is a ZIP before this one in the same file, as `cat`
      joins them: the directory at the end lists only the last one.

    Two members can have the same name.

    Args:
        container: the entry of the ZIP itself.
        stream: the ZIP, seekable.
        size: its size in bytes.
    """
    links: list[ZipEntry] = []
    start = size
    try:
        directory = ZipDirectory(stream, size)
        start = directory.start
        for member in directory.batches():
            if isinstance(member, PlainEntries):
                start = min(start, *member.offsets)
                yield from _list_plain(container, member)
                continue
            start = min(start, member.header_offset)
            kind = _file_type(member)
            if kind == stat.S_IFLNK:
                links.append(member)
            elif (photo := _list_member(container, member, kind, size)) is not None:
                yield photo
    except _DAMAGE_ERRORS as exc:
        reason = "it is empty" if not size else f"no valid directory at its end: {exc}"
        text = f"cut off, damaged or not a ZIP ({reason}): copy it again, then scan again"
        if isinstance(exc, NotImplementedError):
            text = f"damaged, or of a version of ZIP that is not supported ({exc}): unpack it, and scan the folder"
        yield container._replace(modified_ns=None, error=str(BrokenZip(text)))
        return
    if _ends_a_zip(stream, start):
        text = f"its first {start} bytes are another ZIP, which is not read: keep each ZIP in a file of its own"
        yield container._replace(modified_ns=None, error=str(BrokenZip(text)))
    if links:
        yield from _resolve_links(container, directory, links, stream, size)


def _ends_a_zip(stream: BinaryIO, position: int) -> bool:
    """Whether a ZIP ends at a position: with an end record and its comment (APPNOTE.TXT 4.3.16)."""
    if position < END_RECORD_BYTES:
        return False
    stream.seek(max(0, position - END_RECORD_BYTES - MAX_COMMENT_BYTES))
    tail = stream.read(position - stream.tell())
    at = len(tail)
    while (at := tail.rfind(END_RECORD_MAGIC, 0, at)) >= 0:
        rest = len(tail) - at - END_RECORD_BYTES
        if rest >= 0 and rest == int.from_bytes(tail[at + 20 : at + 22], "little"):
            return True
    return False


def _list_member(container: ListedPhoto, member: ZipEntry, kind: int, size: int) -> ListedPhoto | None:
    """The entry of a member that is not a link; None for what is no file and has no photo's name."""
    name = _member_name(member)
    if name.endswith("/") or kind not in (0, stat.S_IFREG):
        if not has_photo_name(name.rstrip("/")):
            return None
        return failed_member(container, name.rstrip("/"), NotAFile("a folder, pipe or device with a photo's name"))
    if is_nested(name):
        return failed_member(container, name, nested_error())
    if member_error := _find_error(member, size):
        return failed_member(container, name, member_error)
    path = member_path(container, name)
    return ListedPhoto(container.source, path, member.file_size, container.modified_ns, None, member.header_offset)


def _list_plain(container: ListedPhoto, members: PlainEntries) -> Iterator[ListedPhoto]:
    """The entries of members for which `_list_member` has no error."""
    paths = [f"{container.path}/{name}" for name in members.names]
    source, time_ns = repeat(container.source), repeat(container.modified_ns)
    fields = zip(source, paths, members.sizes, time_ns, repeat(None), members.offsets, repeat(()))
    return map(partial(tuple.__new__, ListedPhoto), fields)


def _find_error(member: ZipEntry, size: int) -> PhotoError | None:
    """The error of a member that can't be read, as the directory alone shows; None if it may be readable."""
    if error := method_error(member.compress_type, member.flag_bits):
        return error
    start = member.header_offset
    if not 0 <= start <= size - LOCAL_HEADER_BYTES - member.compress_size or member.file_size >= 1 << 63:
        return BrokenZip("the directory of the ZIP names a position outside the ZIP: copy the ZIP again")
    if member.file_size > max(BOMB_BYTES, BOMB_RATIO * member.compress_size):
        return FileTooLarge(
            f"{member.compress_size} bytes unpack to {member.file_size}, as in a ZIP bomb: unpack the ZIP if you trust "
            "it, and scan the folder"
        )
    return None


def _resolve_links(
    container: ListedPhoto, directory: ZipDirectory, links: list[ZipEntry], stream: BinaryIO, size: int
) -> Iterator[ListedPhoto]:
    """The entries of symbolic links, from the members that they lead to; of several of one name, the last one."""
    targets = {}
    for link in links:
        name = _member_name(link)
        try:
            targets[normalize_name(name)] = link_target(name, _read_link(link, stream, size))
        except PhotoError as exc:
            yield failed_member(container, name, exc)
    wanted = {follow_links(target, targets) for target in targets.values()}
    files = {}
    for member in directory:  # once more, because a link may be before its target
        name = _member_name(member)
        if _file_type(member) in (0, stat.S_IFREG) and not name.endswith("/") and normalize_name(name) in wanted:
            files[normalize_name(name)] = member
    for link in links:
        name = _member_name(link)
        target = targets.get(normalize_name(name))
        if target is None:
            continue
        found = files.get(follow_links(target, targets))
        if found is not None:
            photo = _list_member(container, found, _file_type(found), size)
            yield from [photo._replace(path=member_path(container, name))] if photo is not None else []
        elif has_photo_name(name):
            yield failed_member(container, name, link_error(target, "ZIP"))


def _read_link(link: ZipEntry, stream: BinaryIO, size: int) -> str:
    """The target of a symbolic link, which is the data of the member.

    Raises:
        PhotoError: it can't be read.
    """
    if error := _find_error(link, size):
        raise error
    if link.file_size > MAX_LINK_BYTES:
        raise BrokenZip("the target of this link is too long: copy the ZIP again")

    def read_range(start: int, end: int) -> bytes:
        stream.seek(start)
        return stream.read(end - start)

    member = ZipMember(read_range, link.header_offset, link.file_size)
    target = member.read(link.file_size)
    member.check()
    return target.decode("utf-8", "surrogateescape")


def _member_name(member: ZipEntry) -> str:
    r"""The name of a member, with `/` between folders.

    Names are UTF-8 if a flag says so, otherwise cp437. But programs on Unix and macOS write UTF-8 without the flag, and
    some programs on Windows write backslashes.
    """
    name = member.filename
    if member.create_system == _DOS and "/" not in name:
        name = name.replace("\\", "/")
    elif not name.isascii() and member.create_system in MODE_SYSTEMS and not member.flag_bits & UTF8_NAME:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            return name
    return name


def _file_type(member: ZipEntry) -> int:
    """The kind of file as in `stat`; 0 if the ZIP does not say it."""
    return stat.S_IFMT(member.external_attr >> 16) if member.create_system in MODE_SYSTEMS else 0
