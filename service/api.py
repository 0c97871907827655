"""What the service answers: predictions, its state, and its own description."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service.openapi import describe, render
from service.uploads import read_images
from transfer.core.parallel import CORES
from transfer.serving.batching import Batcher
from transfer.serving.engine import Engine

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What the service takes; sizes are those of the encoded bytes.

    max_images: Of one request.
    max_mb: Of one request.
    max_waiting_images: Of all requests that were not answered yet.
    max_waiting_mb: Of these.
    max_seconds: Until a request has arrived; and from there until its answer.
    """

    max_images: int = 32
    max_mb: int = 32
    max_waiting_images: int = 512
    max_waiting_mb: int = 128
    max_seconds: float = 30


@dataclass(eq=False)
class Waiting:
    """A request that was not answered yet, as far as it has arrived."""

    images: int = 0
    bytes: int = 0


class Service:
    """The answers, and what they share: an engine, limits, and the requests that wait."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine, self.limits, self.waiting = engine, limits, set()
        self.batcher, self.decoders = Batcher(engine.predict), ThreadPoolExecutor(CORES)
        description = engine.description
        self.model = {"sha256": description.model_sha256, "version": description.version}
        self.document = describe(limits)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/predict", self.predict, methods=["POST"]),
            Route("/health", self.health),
            Route("/openapi.json", self.openapi),
            Route("/", self.page),
        ]
        handlers = {HTTPException: explain, ClientDisconnect: forget}
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self.run)

    @asynccontextmanager
    async def run(self, app: Starlette) -> AsyncIterator[None]:
        """Predict until the server ends."""
        with self.decoders:
            async with self.batcher.running():
                yield

    async def health(self, request: Request) -> JSONResponse:
        """Return which model is served, and how many images wait."""
        return JSONResponse(
            {
                "status": "ok",
                "model": self.model,
                "classes": self.engine.description.classes,
                "image_size": self.engine.size,
                "waiting_images": sum(other.images for other in self.waiting),
            }
        )

    async def openapi(self, request: Request) -> JSONResponse:
        """Return the description of this service."""
        return JSONResponse(self.document)

    async def page(self, request: Request) -> HTMLResponse:
        """Return the same description as a page, with a form to try it."""
        return HTMLResponse(render(self.document))

    async def predict(self, request: Request) -> JSONResponse:
        """Predict the images of a request; those that can't be read are named, with the reason."""
        seconds = self.limits.max_seconds
        with self.counted() as mine:
            try:
                async with asyncio.timeout(seconds):
                    chunks = self.receive(request, mine)
                    images = await read_images(request.headers, chunks, self.limits.max_images)
            except TimeoutError:
                raise HTTPException(408, f"the request took over {seconds:g} s to come") from None
            mine.images = len(images)
            if sum(other.images for other in self.waiting) > self.limits.max_waiting_images:
                raise busy(f"over {self.limits.max_waiting_images} images wait")
            try:
                async with asyncio.timeout(seconds):
                    answers = await asyncio.gather(*(self.answer(*image) for image in images))
            except TimeoutError:
                raise busy(f"the answer took over {seconds:g} s") from None
        errors = [answer for answer in answers if "reason" in answer]
        predictions = [answer for answer in answers if "reason" not in answer]
        content = {"model": self.model, "predictions": predictions, "errors": errors}
        return JSONResponse(content, 422 if errors else 200)

    @contextmanager
    def counted(self) -> Iterator[Waiting]:
        """Count a request among those that wait, until the block ends."""
        mine = Waiting()
        self.waiting.add(mine)
        try:
            yield mine
        finally:
            self.waiting.remove(mine)

    async def receive(self, request: Request, mine: Waiting) -> AsyncIterator[bytes]:
        """Yield the body of a request as it comes.

        Args:
            request: The request.
            mine: Its bytes are counted here.

        Raises:
            HTTPException: It is too large, alone or together with all that wait.
        """
        limits = self.limits
        too_large = HTTPException(413, f"expected at most {limits.max_mb} MB; received more")
        if int(request.headers.get("content-length", 0)) > limits.max_mb * MB:
            raise too_large  # before it is sent, if the client waits for `100 Continue`
        async for chunk in request.stream():
            mine.bytes += len(chunk)
            if mine.bytes > limits.max_mb * MB:
                raise too_large
            if sum(other.bytes for other in self.waiting) > limits.max_waiting_mb * MB:
                raise busy(f"requests of over {limits.max_waiting_mb} MB wait")
            yield chunk

    async def answer(self, name: str, content: bytes) -> dict:
        """Return the prediction for an image, or the reason why it can't be read."""
        decode, loop = self.engine.decode, asyncio.get_running_loop()
        pixels = await loop.run_in_executor(self.decoders, decode, io.BytesIO(content))
        if isinstance(pixels, str):
            return {"image": name, "reason": pixels}
        return {"image": name} | await self.batcher.predict(pixels)


def busy(why: str) -> HTTPException:
    """Return the answer to a client that may come again."""
    return HTTPException(503, f"too busy: {why}; try again later", {"Retry-After": "1"})


async def explain(request: Request, error: HTTPException) -> JSONResponse:
    """Answer with the reason why a request was refused."""
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def forget(request: Request, error: ClientDisconnect) -> Response:
    """Answer nothing to a client that went away before it had sent all."""
    return Response(status_code=400)
