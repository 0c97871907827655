"""Describe the service to programs (OpenAPI) and to people (a page)."""

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.api import Limits

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{font-family: sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem}}
td, th {{text-align: left; padding-right: 1rem; vertical-align: top}}</style>
<h1>{title}</h1>
<form action="predict" method="post" enctype="multipart/form-data">
<input type="file" name="images" multiple required> <button>Predict</button></form>
<p>The same for programs: <a href="openapi.json">openapi.json</a></p>
{operations}
</html>"""


def describe(limits: "Limits") -> dict:
    """Return the OpenAPI document of the service.

    Args:
        limits: Named where they apply.
    """
    refused = {
        400: "The body is no form, holds no image, or a name that is not in UTF-8",
        408: f"It took over {limits.max_seconds:g} s to come",
        413: f"It has over {limits.max_mb} MB",
        503: "Too many images wait; come again after the seconds in Retry-After",
    }
    answers = {
        200: content("The predictions, in the order of the images", ANSWER),
        422: content("Some images can't be read: `errors` names them, with the reason", ANSWER),
    }
    answers |= {status: content(text, REFUSAL) for status, text in refused.items()}
    image = {"type": "string", "format": "binary"}
    form = object_of(images={"type": "array", "maxItems": limits.max_images, "items": image})
    predict = {
        "summary": "Predict the classes of one or more images",
        "description": "JPEG, PNG, BMP, GIF, WebP or TIFF, whatever the names end in. The names "
        f"of the form's fields are free. At most {limits.max_images} images, {limits.max_mb} MB.",
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "image/*": {"schema": image}},
        },
        "responses": {str(status): answer for status, answer in answers.items()},
    }
    state = {
        "summary": "Tell which model is served, and how many images wait",
        "responses": {"200": content("The service is up", HEALTH)},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image classifier", "version": "1"},
        "paths": {"/predict": {"post": predict}, "/health": {"get": state}},
    }


def render(document: dict) -> str:
    """Return an OpenAPI document as a page that loads nothing else."""
    parts = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            rows = (
                f"<tr><th>{status}<td>{escape(answer['description'])}"
                for status, answer in operation["responses"].items()
            )
            parts += (
                f"<h2>{method.upper()} {escape(path)}</h2>",
                f"<p>{escape(operation['summary'])}.</p>",
                f"<p>{escape(operation.get('description', ''))}</p>",
                f"<table>{''.join(rows)}</table>",
            )
    return PAGE.format(title=escape(document["info"]["title"]), operations="\n".join(parts))


def content(text: str, schema: dict) -> dict:
    """Describe an answer in JSON."""
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def object_of(**properties: dict) -> dict:
    """Return the schema of an object that has all of these properties, and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def list_of(items: dict) -> dict:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


TEXT, FRACTION = {"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1}
MODEL = object_of(sha256=TEXT, version={"type": ["string", "null"]})
PREDICTION = object_of(
    image=TEXT,
    **{"class": TEXT},
    probability=FRACTION,
    probabilities={"type": "object", "additionalProperties": FRACTION},
    familiarity={"type": ["number", "null"]},
    familiar={"type": ["boolean", "null"]},
)
ERROR = object_of(image=TEXT, reason=TEXT)
ANSWER = object_of(model=MODEL, predictions=list_of(PREDICTION), errors=list_of(ERROR))
REFUSAL = object_of(detail=TEXT)
HEALTH = object_of(
    status=TEXT,
    model=MODEL,
    classes=list_of(TEXT),
    image_size={"type": "integer"},
    waiting_images={"type": "integer"},
)
