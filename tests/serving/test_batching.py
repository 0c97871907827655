import asyncio
from threading import Event

import numpy as np
import pytest

from transfer.core.parallel import CORES
from transfer.serving.batching import BATCH_SIZE, Batcher

FAULT = 99


class Model:
    """Answers with the number that an image is made of, once it may."""

    def __init__(self):
        self.may_go, self.batches = Event(), []

    def predict(self, pixels):
        assert self.may_go.wait(30)
        numbers = pixels[:, 0, 0, 0].tolist()
        self.batches.append(numbers)
        if FAULT in numbers:
            raise RuntimeError("a fault")
        return [{"number": number} for number in numbers]


def predict_all(numbers, cancelled=()):
    """Ask for images while all cores are busy; return the answers and the batches then."""
    model = Model()

    async def run():
        batcher = Batcher(model.predict)
        async with batcher.running():
            asked = []
            for number in [0] * CORES + numbers:
                image = np.full((2, 2, 3), number, np.uint8)
                asked.append(asyncio.create_task(batcher.predict(image)))
                await asyncio.sleep(0.01)  # each of the first occupies a core
            for number in cancelled:
                asked[CORES + numbers.index(number)].cancel()
            await asyncio.sleep(0)
            model.may_go.set()
            return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(run())
    assert answers[:CORES] == [{"number": 0}] * CORES
    return answers[CORES:], [batch for batch in model.batches if batch != [0]]


def test_images_that_come_while_all_cores_are_busy_are_predicted_together():
    numbers = list(range(1, 2 * BATCH_SIZE + 2))
    answers, batches = predict_all(numbers)
    assert answers == [{"number": number} for number in numbers]
    assert sorted(map(len, batches)) == [1, BATCH_SIZE, BATCH_SIZE]


def test_what_nobody_waits_for_is_not_computed():
    answers, batches = predict_all([1, 2, 3], cancelled=[2])
    assert isinstance(answers[1], asyncio.CancelledError)
    assert (answers[0], answers[2]) == ({"number": 1}, {"number": 3})
    assert sorted(number for batch in batches for number in batch) == [1, 3]


def test_a_fault_reaches_those_who_asked_and_no_others():
    answers, _ = predict_all([FAULT, 1, 2, 3, 4, 5])
    assert [type(answer) for answer in answers[:BATCH_SIZE]] == [RuntimeError] * BATCH_SIZE
    assert answers[BATCH_SIZE:] == [{"number": 4}, {"number": 5}]


@pytest.mark.parametrize("count", [0, 1])
def test_it_ends_when_the_block_ends(count):
    assert predict_all([7] * count)[0] == [{"number": 7}] * count
