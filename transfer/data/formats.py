"""The image formats that are read: their names in Pillow, and the suffixes of their files.

Pillow knows more formats; for an EPS file called .jpg it would start Ghostscript.
"""

SUFFIXES_BY_FORMAT = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpeg", ".jpg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
FORMATS = tuple(SUFFIXES_BY_FORMAT)
SUFFIXES = tuple(suffix for suffixes in SUFFIXES_BY_FORMAT.values() for suffix in suffixes)
