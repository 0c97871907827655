"""Gather the images of several clients, and predict them together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np

from transfer.core.parallel import CORES

# MobileNetV2's largest tensor is 112x112x96 floats per image: 5 MB, of which a few fit into the
# CPU's cache. More at a time are no faster.
BATCH_SIZE = 4


class Batcher:
    """A queue of images. While all cores are busy, it fills; a free core takes a batch of it.

    So no image waits for others to come, and nobody has to choose how long.
    """

    def __init__(self, predict: Callable[[np.ndarray], list[dict]]) -> None:
        """Make an empty queue.

        Args:
            predict: From uint8 pixels [N, H, W, 3] to N answers; called in several threads.
        """
        self._predict = predict
        self._queue: asyncio.Queue[tuple[np.ndarray, asyncio.Future]] = asyncio.Queue()

    async def predict(self, pixels: np.ndarray) -> dict:
        """Return the answer for one image, uint8 [H, W, 3]; if cancelled, it is not computed."""
        answer = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((pixels, answer))
        return await answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Predict what comes, until the block ends."""
        with ThreadPoolExecutor(CORES) as pool:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._work(pool)) for _ in range(CORES)]
                yield
                for worker in workers:
                    worker.cancel()

    async def _work(self, pool: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH_SIZE and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            wanted = [(pixels, answer) for pixels, answer in batch if not answer.done()]
            if not wanted:
                continue
            images = np.stack([pixels for pixels, _ in wanted])
            try:
                results = await loop.run_in_executor(pool, self._predict, images)
            except Exception as error:  # those who asked are told
                results = [error] * len(wanted)
            for (_, answer), result in zip(wanted, results, strict=True):
                if answer.done():  # cancelled in the meantime
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)
