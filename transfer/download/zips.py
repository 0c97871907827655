"""The files in a zip: their names in the right encoding, and checks of the zip's directory."""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial

from transfer.core.errors import UserError, shown
from transfer.data.find import Member
from transfer.download.links import followed, link_target

END_BYTES = 22  # size of the record at the end of a zip, without its comment
LOCAL_HEADER = 30  # bytes before the name of a member; 26 to 28 are the length of the name
MAX_LINK = 4096  # bytes of the longest path
ENCRYPTED, UTF8 = 1, 1 << 11  # bits of the flags
UNICODE_PATH = 0x7075  # Info-ZIP's extra field with the name in UTF-8
METHODS = zipfile.compressor_names | {93: "Zstandard", 95: "xz", 96: "JPEG"}


def zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    """Yield the files of a zip; check its directory, which has no checksum, against the rest.

    Otherwise damage to the directory would hide images.

    Raises:
        UserError: The zip is packed in a way that Python can't unpack.
    """
    archive.fp.seek(-END_BYTES - len(archive.comment), os.SEEK_END)
    end = archive.fp.read(END_BYTES)
    count, infos = int.from_bytes(end[10:12], "little"), archive.infolist()
    if end.startswith(b"PK\5\6") and count not in (0xFFFF, len(infos) % (1 << 16)):
        raise zipfile.BadZipFile(f"{len(infos)} of {count} files are listed")
    files, links = {}, {}
    for info, name in zip(infos, _names(infos), strict=True):
        _accept_local_name(archive, info)
        if not info.flag_bits & ENCRYPTED:  # which matters only for an image
            _check(archive, info)
        if stat.S_ISLNK(info.external_attr >> 16):
            links[name] = link_target(name, _link_content(archive, info))
        elif name.endswith(("/", "\\")):
            yield name, None
        else:
            files[name] = partial(archive.open, info)
            yield name, files[name]
    yield from followed(files, links)


def _check(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Open a member, which compares its name with the one before its content."""
    try:
        archive.open(info).close()
    except NotImplementedError as error:
        method = METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise UserError(
            f"data_url: {os.path.basename(archive.filename)} is a zip that is packed with {method} "
            f"({error}); unpack it with another program, and set data_url to the folder"
        ) from None


def _link_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    content = b"\0" if info.file_size > MAX_LINK else archive.read(info)
    if b"\0" in content:  # no path is like this
        raise zipfile.BadZipFile(f"{shown(info.filename)} is marked as a link, but is none")
    return os.fsdecode(content)


def _names(infos: list[zipfile.ZipInfo]) -> Iterator[str]:
    """Yield the names of all members.

    Without the flag for UTF-8 a name is in an encoding that nothing tells: usually UTF-8, too, or
    that of the country. If not all of them are valid UTF-8, bytes that are not ASCII become
    surrogates, with which a name of an image is refused: a wrong guess would mangle the names of
    classes, and in some encodings a second byte looks like a backslash.
    """
    untold = [_untold_name(info) for info in infos]
    try:
        b"\n".join(name for name in untold if name is not None).decode()
        decode = partial(bytes.decode, encoding="utf-8")
    except UnicodeDecodeError:
        decode = partial(bytes.decode, encoding="ascii", errors="surrogateescape")
    for info, name in zip(infos, untold, strict=True):
        yield _unicode_path(info) or (info.orig_filename if name is None else decode(name))


def _untold_name(info: zipfile.ZipInfo) -> bytes | None:
    """Return the bytes of a name in an encoding that nothing tells, or None."""
    if info.flag_bits & UTF8 or _unicode_path(info):
        return None
    return info.orig_filename.encode("cp437")  # as zipfile decodes it


def _unicode_path(info: zipfile.ZipInfo) -> str | None:
    """Return the name in Info-ZIP's extra field, unless it was made for another name."""
    if info.flag_bits & UTF8:
        return None
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + size], extra[4 + size :]
        checksum = struct.pack("<I", zlib.crc32(info.orig_filename.encode("cp437")))
        if kind == UNICODE_PATH and body[:5] == b"\1" + checksum:
            return body[5:].decode()
    return None


def _accept_local_name(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Let zipfile open a member whose two names differ in slashes only, as some programs write."""
    archive.fp.seek(info.header_offset)
    header = archive.fp.read(LOCAL_HEADER).ljust(LOCAL_HEADER, b"\0")
    local = archive.fp.read(int.from_bytes(header[26:28], "little"))
    encoding = "utf-8" if info.flag_bits & UTF8 else "cp437"
    if _slashed(local) == _slashed(info.orig_filename.encode(encoding)):
        info.orig_filename = local.decode(encoding)


def _slashed(name: bytes) -> bytes:
    return re.sub(rb"^(\.?/)+", b"", name.replace(b"\\", b"/"))
