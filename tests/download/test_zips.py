"""Zips whose names are in other encodings or differ between the two places that have them."""

import struct
import unicodedata
import zipfile
import zlib

import pytest

from tests.helpers.archives import FILES, read, refuse, write_zip
from transfer.download.acquire import acquire_images

pytestmark = pytest.mark.usefixtures("home")


class Encoded(zipfile.ZipInfo):
    """A member whose name is in some encoding, without the flag for UTF-8."""

    encoding = "utf-8"

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode(self.encoding), self.flag_bits & ~0x800


def write_encoded(path, names, encoding, unicode_path=False):
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            info = Encoded(name)
            info.encoding = encoding
            if unicode_path:
                checksum = zlib.crc32(name.encode(encoding) + b"x" * (unicode_path == "stale"))
                body = b"\1" + struct.pack("<I", checksum) + name.encode()
                info.extra = struct.pack("<HH", 0x7075, len(body)) + body
            archive.writestr(info, b"%d" % number)
    return path


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_utf8_without_the_flag_are_read(tmp_path, target, form):
    names = [unicodedata.normalize(form, f"top/{c}/1.jpg") for c in ("pâté", "日本", "dog")]
    acquire_images(str(write_encoded(tmp_path / "a.zip", names, "utf-8")), None, target)
    assert sorted(read(target)) == sorted(name.removeprefix("top/") for name in names)


@pytest.mark.parametrize(
    ("names", "encoding"),
    [
        (["犬/1.jpg", "表/1.jpg", "ソ/1.jpg"], "cp932"),
        (["ソファ/1.jpg", "ソックス/1.jpg", "dog/1.jpg"], "cp932"),  # ソ ends with a backslash
        (["Übung/1.jpg", "Øre/1.jpg"], "cp850"),
        (["été/1.jpg", "dog/1.jpg"], "cp437"),
        (["кот/1.jpg", "пёс/1.jpg"], "cp866"),
        (["dog/1.jpg", "cat/小狗.jpg"], "gbk"),
    ],
)
def test_names_whose_encoding_nothing_tells_are_refused(tmp_path, target, names, encoding):
    source = write_encoded(tmp_path / "a.zip", names, encoding)
    refuse(source, "the name '.*' is not in UTF-8; .* such as unzip -O CP932 .* folder$", target)


def test_other_files_may_have_such_names(tmp_path, target):
    names = ["dog/1.jpg", "cat/1.jpg", "注意.txt"]
    left_out, _ = acquire_images(
        str(write_encoded(tmp_path / "a.zip", names, "cp932")), None, target
    )
    assert sorted(read(target)) == ["cat/1.jpg", "dog/1.jpg"]
    assert [row.path for row in left_out.rejected] == [r"\udc92\udc8d\udc88\udcd3.txt"]


def test_the_unicode_path_of_info_zip_is_read_if_it_is_of_this_name(tmp_path, target):
    names = ["crème/1.jpg", "dog/1.jpg"]
    source = write_encoded(tmp_path / "a.zip", names, "cp850", unicode_path=True)
    acquire_images(str(source), None, target)
    assert sorted(read(target)) == names
    source = write_encoded(tmp_path / "b.zip", names, "cp850", unicode_path="stale")
    refuse(source, "is not in UTF-8", tmp_path / "new" / "raw")


@pytest.mark.parametrize(("here", "there"), [(b"/", b"\\"), (b"\\", b"/")])
def test_names_that_differ_in_slashes_are_the_same(tmp_path, target, here, there):
    source = write_zip(tmp_path / "a.zip", FILES)
    whole = source.read_bytes()
    at = whole.index(b"PK\1\2")
    names = [name.encode() for name in FILES]
    local, central = whole[:at], whole[at:]
    for name in names:
        local = local.replace(name, name.replace(b"/", here))
        central = central.replace(name, name.replace(b"/", there))
    source.write_bytes(local + central)
    acquire_images(str(source), None, target)
    assert read(target) == FILES


def test_a_method_that_python_lacks_is_named(tmp_path, target):
    source = write_zip(tmp_path / "a.zip", FILES, zipfile.ZIP_DEFLATED)
    whole = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            whole[info.header_offset + 8] = 9
    at = whole.find(b"PK\1\2")
    while at >= 0:
        whole[at + 10] = 9
        at = whole.find(b"PK\1\2", at + 1)
    source.write_bytes(whole)
    refuse(source, "a.zip is a zip that is packed with deflate64 .*; unpack it with an", target)
