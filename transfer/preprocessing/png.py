"""Let Pillow read PNGs with long texts, and keep how many bits of their samples are significant.

Imported for its effect on Pillow.
"""

from contextlib import suppress

from PIL import ImageFile, PngImagePlugin

# Pillow refuses an image if one of its texts or its profile has over 1 MB. None is needed here, but
# the orientation may be in a text, so that texts of up to 16 MB are read, and 64 MB in total.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20
TEXTS = (b"iCCP", b"iTXt", b"tEXt", b"zTXt")


class ChunkReader(PngImagePlugin.PngStream):
    """Pillow's reader of chunks, which skips longer texts instead of refusing the image."""

    def call(self, cid: bytes, pos: int, length: int) -> bytes:
        """Handle the chunk `cid` of `length` bytes at `pos`, and return these bytes."""
        if cid not in TEXTS:
            return super().call(cid, pos, length)
        # SyntaxError: an unknown compression. OSError: the chunk is cut off, which is raised again.
        if self.text_memory <= PngImagePlugin.MAX_TEXT_MEMORY:
            with suppress(ValueError, SyntaxError, OSError, LookupError):
                return super().call(cid, pos, length)
        self.fp.seek(pos)
        return ImageFile._safe_read(self.fp, length)

    def chunk_sBIT(self, pos: int, length: int) -> bytes:  # noqa: N802
        """Keep the number of significant bits of each channel, one byte each."""
        content = ImageFile._safe_read(self.fp, length)
        self.im_info["significant_bits"] = max(content, default=0)
        return content


PngImagePlugin.PngStream = ChunkReader
