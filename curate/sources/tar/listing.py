"""List the members of a tar with the positions of their bytes, so that each member can be read without the rest."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from curate.errors import BrokenTar, NotAFile, UnsupportedFormat
from curate.sources.entry import ListedPhoto
from curate.sources.members import (
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
from curate.sources.tar.headers import TarHeaders, has_data

_GNU_DUMPDIR, _GNU_LONG_NAMES, _GNU_VOLUME, _GNU_CONTINUED = b"D", b"N", b"V", b"M"
"""Types of headers that tarfile has no name for: three that are no files, and the rest of a file of another volume."""


class Link(NamedTuple):
    """A link that is a member of a tar."""

    member: str
    """Its name as in the tar."""
    target: str
    """The member that it names, as `normalize_name` returns names."""
    is_hard: bool
    """Whether it is a hard link, whose target is before it in the tar."""
    position: tuple[int, int]
    """Number of the joined tar, and offset of the header."""


class FoundMember(NamedTuple):
    """A member to which links may lead."""

    name: str
    """As `normalize_name` returns it."""
    position: tuple[int, int]
    """As in `Link`."""
    photo: ListedPhoto
    """Its entry."""


def list_tar_members(container: ListedPhoto, stream: BinaryIO, size: int) -> Iterator[ListedPhoto]:
    """List what `tar --ignore-zeros --list` lists: files and links of a tar, or of several that were joined.

    - A link to a member has the position of that member; one to something else is an error, if its name is a photo's.
    - Directories, devices and pipes are left out, or errors if their name is a photo's.
    - Sparse members, tars and ZIPs in the tar, and parts of members of other volumes are errors.
    - A tar that is cut off or damaged is one entry more with an error: the tar, or the member in which it is cut off.

    Two members can have the same name.

    Args:
        container: the entry of the tar itself.
        stream: the tar, seekable.
        size: its size in bytes.
    """
    headers = TarHeaders(stream, size)
    links = []
    for header in headers:
        if header.islnk() or header.issym():
            links.append(to_link(header, headers.archive))
        else:
            photo = list_member(container, header)
            if photo is not None:
                yield photo
    if links:
        again = TarHeaders(stream, size)  # the tar is read once more, because a link may be before its target
        yield from resolve_links(container, links, lambda names: _find_members(container, names, again))
    if headers.damaged_at is not None:
        yield damaged(container, headers)


def list_member(tar: ListedPhoto, header: tarfile.TarInfo) -> ListedPhoto | None:
    """The entry of a member that is not a link; None for what is no file and has no photo's name."""
    if header.type in (_GNU_DUMPDIR, _GNU_LONG_NAMES, _GNU_VOLUME):
        return None
    name = member_path(tar, header.name)
    if not has_data(header):
        if not has_photo_name(name):
            return None
        return failed_member(tar, header.name, NotAFile("a folder, pipe or device with a photo's name"))
    if header.issparse():
        return failed_member(tar, header.name, UnsupportedFormat("a sparse member is not supported: unpack the tar"))
    if header.type == _GNU_CONTINUED:
        error = UnsupportedFormat("it begins in another volume of the tar: join the volumes")
        return failed_member(tar, header.name, error)
    if is_nested(name):
        return failed_member(tar, header.name, nested_error())
    return ListedPhoto(tar.source, name, header.size, tar.modified_ns, None, header.offset_data)


def damaged(tar: ListedPhoto, headers: TarHeaders) -> ListedPhoto:
    """The entry for the damage of a tar."""
    cut = headers.truncated
    if cut is not None and has_photo_name(cut.name):
        text = f"the tar is cut off in this member, at byte {headers.damaged_at}"
        return failed_member(tar, cut.name, BrokenTar(f"{text}: copy the tar again, then scan again"))
    has_members = headers.count or cut is not None
    text = f"cut off or damaged at byte {headers.damaged_at}" if has_members else "damaged, compressed or not a tar"
    return tar._replace(modified_ns=None, error=str(BrokenTar(f"{text}: copy it again, then scan again")))


def to_link(header: tarfile.TarInfo, archive: int) -> Link:
    """The link that a header describes; `archive` is the number of its tar in a file of joined tars."""
    target = link_target(header.name, header.linkname) if header.issym() else normalize_name(header.linkname)
    return Link(header.name, target, header.islnk(), (archive, header.offset))


def _find_members(tar: ListedPhoto, names: Collection[str], headers: TarHeaders) -> Iterator[FoundMember]:
    """The members with these names, and their positions."""
    for header in headers:
        name = normalize_name(header.name)
        if name in names and has_data(header) and (photo := list_member(tar, header)) is not None:
            yield FoundMember(name, (headers.archive, header.offset), photo)


def resolve_links(
    tar: ListedPhoto, links: Sequence[Link], find_members: Callable[[Collection[str]], Iterable[FoundMember]]
) -> Iterator[ListedPhoto]:
    """The entries of links, from the members that they lead to.

    Of several members of one name, a symbolic link leads to the last one, and a hard link to the last one before it;
    of joined tars, those of the link's own tar come first.

    Args:
        tar: the entry of the tar itself.
        links: of the tar.
        find_members: returns the members with some names, in the order of the tar.
    """
    targets = {normalize_name(link.member): link.target for link in links}
    resolved = [follow_links(link.target, targets) for link in links]
    members: defaultdict[str, list[FoundMember]] = defaultdict(list)
    for member in find_members(set(resolved)):
        members[member.name].append(member)
    for link, name in zip(links, resolved, strict=True):
        found = [member for member in members[name] if not link.is_hard or member.position < link.position]
        own = [member for member in found if member.position[0] == link.position[0]]
        if found:
            yield (own or found)[-1].photo._replace(path=member_path(tar, link.member))
        elif has_photo_name(link.member):
            yield failed_member(tar, link.member, link_error(link.target, "tar"))
