import numpy as np
import pytest

from transfer.models import familiarity
from transfer.models.familiarity import Familiarity, familiar_from, learn_familiarity

SURE = np.array([[0.0, 1.0]], np.float32)


def plane(count, seed):
    """Return features whose square roots lie in a plane of the six dimensions."""
    rng = np.random.default_rng(seed)
    roots = 2 + rng.normal(size=(count, 2)) @ [[1, 0, 0.5, 0, 0, 0], [0, 1, 0, -0.5, 0, 0]]
    return (np.sign(roots) * roots**2).astype(np.float32)


def score(learned, features, probabilities=SURE):
    return np.asarray(learned.score(features, np.repeat(probabilities, len(features), axis=0)))


def test_the_score_is_the_share_of_the_features_that_the_training_images_explain(monkeypatch):
    monkeypatch.setattr(familiarity, "DIRECTIONS", 0)
    learned = learn_familiarity(plane(200, seed=0), classes=2)
    assert learned.directions.shape == (2, 6)
    np.testing.assert_allclose(learned.centre, 2, atol=0.2)
    known = plane(50, seed=1)
    np.testing.assert_allclose(score(learned, known), 1, atol=2e-3)
    away = (np.sqrt(np.abs(known)) * np.sign(known) + [0, 0, 0, 0, 3, 4]) ** 2
    offsets = np.sqrt(away) - learned.centre
    along = np.linalg.norm(offsets @ learned.directions.T, axis=1)
    expected = 0.8 * along / np.linalg.norm(offsets, axis=1) + 0.2
    found = score(learned, away.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32 and found.max() < 0.8


def test_a_fifth_of_the_score_is_the_largest_probability():
    learned = learn_familiarity(plane(200, seed=0), classes=2)
    unsure = np.array([[0.4, 0.6]], np.float32)
    known = plane(5, seed=1)
    np.testing.assert_allclose(
        score(learned, known) - score(learned, known, unsure), 0.2 * 0.4, atol=1e-6
    )


def test_negative_features_and_the_centre_itself_have_a_score():
    learned = Familiarity(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)[:1])
    features = np.float32([[-4, 0, 0], [0, -4, 0], [4, 4, 0], [0, 0, 0]])
    np.testing.assert_allclose(
        score(learned, features), [1, 0.2, 0.2 + 0.8 / np.sqrt(2), 0.2], atol=1e-6
    )


def test_what_is_stored_gives_the_same_scores():
    learned = learn_familiarity(plane(40, seed=0), classes=3)
    stored = learned.to_array()
    assert stored.dtype == np.float16 and stored.shape == (1 + 6, 6)
    again, known = Familiarity.from_array(stored), plane(9, seed=1)
    np.testing.assert_array_equal(score(again, known), score(learned, known))


@pytest.mark.parametrize(("count", "below"), [(1, 0), (49, 0), (50, 1), (800, 16)])
def test_the_limit_keeps_98_percent_of_the_images(count, below):
    scores = np.linspace(0.30005, 0.9, count, dtype=np.float32)[::-1]
    limit = familiar_from(scores)
    assert round(limit, 4) == limit
    assert np.count_nonzero(scores < limit) == below
    assert limit > np.sort(scores)[below] - 1e-4
