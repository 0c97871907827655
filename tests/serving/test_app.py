"""The web page in a real browser, served as by make app."""

import io
import re
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import NEEDS_BROWSER, PHONE, assert_on_loopback, opened, serving
from tests.helpers.project import PROJECT

pytestmark = NEEDS_BROWSER
UNFAMILIAR = "This image is unlike those that the model was trained on"
NEAREST = "The training images most similar to it"


@pytest.fixture(scope="module")
def process(repository):
    """Return the address and the process of a server that can write no file over 1 kB."""
    with serving(repository.folder, "app/page.py", "ulimit -f 1") as served:
        yield served


@pytest.fixture(scope="module")
def server(process):
    """Return the address of the server."""
    address, _ = process
    return address


@pytest.fixture
def page(server, browser, requested):
    """Return the page, just opened; all that it requests must be on its own server."""
    with opened(server, browser, requested) as page:
        page.get_by_text("Classes: cats, dogs").wait_for()
        yield page
    assert requested and {urlsplit(url).netloc for url in requested} == {urlsplit(server).netloc}


@pytest.fixture(scope="module")
def photos(repository):
    return sorted((repository.folder / "data/raw").rglob("*[0-9].*"))[::10]


def upload(page, *files):
    page.locator("input[type=file]").set_input_files(files)


def cards(page, count):
    """Wait for so many results; return them."""
    found = page.locator('[class*="st-key-result"]')
    page.get_by_text(NEAREST).nth(count - 1).wait_for()
    assert found.count() == count
    return [found.nth(index) for index in range(count)]


def pixels(page, image):
    """Wait for an image to be loaded; return what the server sent, uint8 [H, W, 3]."""
    image.scroll_into_view_if_needed()
    image.evaluate("image => image.decode()")
    assert image.is_visible() and image.evaluate("image => image.naturalWidth") > 0
    body = page.request.get(image.get_attribute("src")).body()
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


def check(page, card):
    """Check class, probability, overlay and nearest images of one result."""
    name, probability = card.locator("h3").inner_text().split(" · ")
    assert name in ("cats", "dogs") and 50 <= float(probability.removesuffix("%")) <= 100
    images = card.locator("img")
    for parts, count in ((card.get_by_role("progressbar"), 2), (images, 2 + 6)):
        parts.nth(count - 1).wait_for()  # the page loads piece by piece
        assert parts.count() == count
    image, overlay = (pixels(page, images.nth(index)) for index in range(2))
    assert image.shape == overlay.shape == (32, 32, 3)
    assert np.abs(image.astype(int) - overlay).mean() > 5
    assert card.get_by_text(f"where it sees {name}").is_visible()
    assert card.get_by_text(re.compile(r"^(cats|dogs) [01]\.\d\d$")).count() == 6
    assert len({pixels(page, images.nth(index)).tobytes() for index in range(2, 8)}) == 6


def test_an_image_has_its_result(page, photos):
    upload(page, photos[0])
    (card,) = cards(page, 1)
    check(page, card)
    assert card.get_by_text(photos[0].name).is_visible()


def test_several_images_and_one_that_cannot_be_read_is_named(page, photos, tmp_path):
    bad = tmp_path / "my_*holiday*.jpg"
    bad.write_text("not an image")
    upload(page, photos[0], bad, photos[1])
    for card in cards(page, 2):
        check(page, card)
    alerts = page.get_by_role("alert").filter(has_not_text=UNFAMILIAR)
    (message,) = alerts.all_inner_texts()
    assert message == f"{bad.name}: cannot identify it as BMP, GIF, JPEG, PNG, TIFF, WEBP"


def test_of_too_many_images_the_first_twelve_are_taken(page, tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(14)]
    for path in paths:
        path.write_text("not an image")
    upload(page, *paths)
    page.get_by_text("These are the first 12 of 14 images; in a terminal, python -m").wait_for()
    page.get_by_text("11.jpg: cannot identify it").wait_for()
    assert page.get_by_text("cannot identify it").count() == 12


def test_a_click_on_an_example_predicts_it(page):
    examples = page.locator('[class*="st-key-example"]')
    examples.nth(7).wait_for()
    assert examples.count() == 8
    example = examples.nth(3)
    expected = pixels(page, example.locator("img"))
    example.get_by_role("button", name="Example").click()
    (card,) = cards(page, 1)
    check(page, card)
    np.testing.assert_array_equal(pixels(page, card.locator("img").first), expected)


def test_large_images_stay_in_memory_and_too_large_ones_are_refused(page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > 2**21
    upload(page, tmp_path / "large.png")  # over 2 kB, which the server may not write
    check(page, *cards(page, 1))
    (tmp_path / "too_large.png").write_bytes(bytes(20 * 2**20 + 1))
    upload(page, tmp_path / "too_large.png")
    page.get_by_text("File must be 20.0MB or smaller").wait_for()
    assert len(cards(page, 1)) == 1


def test_it_fits_a_phone(server, browser, requested, photos):
    with opened(server, browser, requested, viewport=PHONE) as page:
        upload(page, *photos[:2])
        for card in cards(page, 2):
            check(page, card)
        for element in ("html", '[data-testid="stMain"]'):
            assert page.locator(element).evaluate("e => e.scrollWidth") == PHONE["width"]


def test_server_listens_on_loopback_only(process):
    assert_on_loopback(*process)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            "models/model.keras",
            "There is no models/model.keras: dvc pull models/model.keras fetches",
        ),
        ("data/split", "To see examples here, fetch the images with dvc pull data/split."),
    ],
)
def test_the_page_says_what_is_missing(server, browser, requested, repository, part, message):
    path = repository.folder / part
    path.rename(path.with_name("away"))
    try:
        with opened(server, browser, requested) as page:
            page.get_by_text(message).wait_for()
            assert not page.get_by_text("Traceback").count()
    finally:
        path.with_name("away").rename(path)


def test_make_app_serves_the_page():
    line = next(
        line for line in (PROJECT / "Makefile").read_text().splitlines() if "streamlit run" in line
    )
    assert line.split() == ["python", "-m", "streamlit", "run", "app/page.py"]
