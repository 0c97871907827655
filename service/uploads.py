"""Read the images of a request, none of which is ever written to the disk."""

import logging
from collections.abc import AsyncIterator

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

MULTIPART = "multipart/form-data"
BODY = "body"  # the name of an image that comes without one
# Else it logs to stderr what is wrong with a form, which the client is told.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())


class InMemoryParser(MultiPartParser):
    """Starlette's parser, but one that keeps large files in memory and knows if a body was cut."""

    spool_max_size = 0  # no limit
    complete = False

    def on_end(self) -> None:
        """Remember that the last boundary came."""
        self.complete = True


async def read_images(
    headers: Headers, chunks: AsyncIterator[bytes], max_images: int
) -> list[tuple[str, bytes]]:
    """Return the names and the encoded bytes of the images in a request.

    Args:
        headers: Of the request. Its body is a form, or else one image.
        chunks: The body.
        max_images: More are refused.

    Raises:
        HTTPException: The body is not what was expected.
    """
    if not headers.get("content-type", "").lower().startswith(MULTIPART):
        images = [(BODY, b"".join([chunk async for chunk in chunks]))]
    else:
        parser = InMemoryParser(headers, chunks, max_files=max_images, max_fields=max_images)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise HTTPException(400, f"the form can't be read: {error.message}") from None
        if not parser.complete:
            raise HTTPException(400, "the form ends before its last boundary")
        images = [
            # Not the file: of a TIFF, Pillow asks its fileno(), which writes it to the disk.
            (name_of(number, field, value), await value.read())
            for number, (field, value) in enumerate(form.multi_items(), start=1)
        ]
    if not images or not any(content for _, content in images):
        raise HTTPException(400, "expected an image, or a form with images; received none")
    return images


def name_of(number: int, field: str, value: UploadFile | str) -> str:
    """Return the file name of a part of a form.

    Args:
        number: Of the part, from 1, which stands for a name that is empty.
        field: Its name in the form.
        value: Its content.

    Raises:
        HTTPException: It is a text, or its file name is not in UTF-8.
    """
    if isinstance(value, str):
        raise HTTPException(
            400, f"{field}: expected a file, as curl -F {field}=@cat.jpg sends; received a text"
        )
    # Starlette would take other bytes for Latin-1, and show a wrong name.
    _, options = parse_options_header(value.headers["content-disposition"])
    try:
        return options[b"filename"].decode() or f"{field} {number}"
    except UnicodeDecodeError:
        raise HTTPException(
            400, f"image {number}: expected a file name in UTF-8; received {options[b'filename']}"
        ) from None
