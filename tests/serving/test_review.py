"""The page of make review in a real browser, and what its decisions do to the splits."""

import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from scripts.project import copy_project
from tests.helpers.browser import NEEDS_BROWSER, PHONE, assert_on_loopback, opened, serving
from tests.helpers.project import PROJECT
from transfer.core.files import SUSPECTS, read_csv, write_csv
from transfer.download.sample import draw_sample

pytestmark = NEEDS_BROWSER
CATS, DOGS = "cats & <b>`x`", "do_gs_ :red[x] *$1$*"  # shown as they are
COLUMNS = ("path", "sha256", "split", "kind", "label", "suggested", "probability", "score", "other")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a project whose images are split, and four of them suspected."""
    folder = tmp_path_factory.mktemp("review") / "project"
    copy_project(folder, "app", ".streamlit", image_size=32)
    draw_sample(folder / "data/raw", 20)
    for old, new in (("cats", CATS), ("dogs", DOGS)):
        (folder / "data/raw" / old).rename(folder / "data/raw" / new)
    split(folder)
    rows = read_csv(folder / "data/split/manifest.csv")
    some = [row for row in rows if row["split"] == "train"][:3] + rows[-1:]
    reasons = [
        ("label", DOGS, 0.013, ""),
        ("twins", DOGS, 0.088, rows[-2]["path"]),
        ("outlier", "", 0.71, ""),
        ("label", CATS, 0.189, ""),
    ]
    write_csv(
        folder / SUSPECTS,
        COLUMNS,
        [
            (*(row[c] for c in COLUMNS[:3]), kind, row["label"], suggested, probability, 0.5, other)
            for row, (kind, suggested, probability, other) in zip(some, reasons, strict=True)
        ],
    )
    return folder


def split(folder):
    """Run the stage in a project, whose modules are its own."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "stages.split"]
    subprocess.run(command, cwd=folder, env=environment, check=True)


@pytest.fixture(scope="module")
def process(folder):
    with serving(folder, "app/review.py") as served:
        yield served


@pytest.fixture(autouse=True)
def undecided(folder):
    (folder / "corrections.csv").write_text("sha256,path,old,new,who,why\n")


@pytest.fixture
def page(process, folder, browser, requested):
    """Return the page, just opened; it requests nothing from other servers."""
    address, _ = process
    with opened(f"{address}?who=Eva", browser, requested) as page:
        page.suspects = read_csv(folder / SUSPECTS)
        page.get_by_text("0 of 4 reviewed").wait_for()
        yield page
    assert requested and {urlsplit(url).netloc for url in requested} == {urlsplit(address).netloc}


def decisions(folder):
    """Return new label, person and reason by path."""
    rows = read_csv(folder / "corrections.csv")
    return {row["path"]: (row["new"], row["who"], row["why"]) for row in rows}


def files(folder):
    """Return what is in a project, and when it was modified."""
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {path: path.stat().st_mtime_ns for path in found if path.is_file()}


def see(page, suspect):
    """Wait for a suspect, its large image, and its buttons, which come last."""
    page.get_by_text(suspect["path"]).first.wait_for()
    number = [row["path"] for row in page.suspects].index(suspect["path"])
    page.locator(f".st-key-keep-{number} button").wait_for()
    page.get_by_role("textbox", name="Why").wait_for()
    image = page.locator(".st-key-suspect img")
    image.evaluate("image => image.decode()")
    assert image.evaluate("image => image.naturalWidth") > 32  # the whole image, from data/raw


def test_decisions_by_button_and_key_are_all_that_is_written(folder, page):
    first, second, third, fourth = page.suspects
    before = files(folder)
    see(page, first)
    assert page.get_by_role("heading", name=f"Labelled {CATS}", exact=True).is_visible()
    assert page.get_by_text(f"Suggested: {DOGS}", exact=True).is_visible()
    assert page.get_by_text("Probability of its label, learned without it: 1.3%").is_visible()
    page.get_by_role("button", name=f"Relabel to {DOGS}").click()
    see(page, second)
    page.get_by_text(f"A similar image, labelled {DOGS}:").wait_for()
    assert decisions(folder) == {first["path"]: (DOGS, "Eva", "")}
    page.get_by_label("Why (optional)").fill("two animals, kxs")  # keys that decide, elsewhere
    page.get_by_label("Why (optional)").press("Enter")
    page.locator("h3").click()
    page.keyboard.press("x")
    see(page, third)
    assert not page.get_by_role("button", name="Relabel to").count()
    page.keyboard.press("k")
    see(page, fourth)
    page.get_by_text("3 of 4 reviewed").wait_for()
    page.keyboard.press("s")
    page.get_by_text("All are reviewed. dvc repro runs the pipeline").wait_for()
    assert page.get_by_text("4 of 4 reviewed").is_visible()
    page.keyboard.press("u")
    see(page, fourth)
    page.get_by_text("3 of 4 reviewed").wait_for()
    assert page.get_by_role("textbox", name="Your name").input_value() == "Eva"
    expected = {
        first["path"]: (DOGS, "Eva", ""),
        second["path"]: ("exclude", "Eva", "two animals, kxs"),
        third["path"]: (CATS, "Eva", ""),
    }
    assert decisions(folder) == expected
    assert [row["path"] for row in read_csv(folder / "corrections.csv")] == sorted(expected)
    changed = {path.name for path, when in files(folder).items() if before.get(path) != when}
    assert changed == {"corrections.csv"}


def test_the_next_split_has_what_was_decided(folder, page):
    first, second, third, _ = page.suspects
    see(page, first)
    page.keyboard.press("s")
    see(page, second)
    page.keyboard.press("x")
    see(page, third)
    manifest = {row["path"]: row for row in read_csv(folder / "data/split/manifest.csv")}
    manifest[first["path"]]["label"] = DOGS
    del manifest[second["path"]]
    split(folder)
    after = {row["path"]: row for row in read_csv(folder / "data/split/manifest.csv")}
    assert after == manifest
    assert read_csv(folder / "data/split/rejected.csv") == [
        {"path": second["path"], "reason": "excluded by corrections.csv", "kind": "excluded"}
    ]
    page.reload()
    page.get_by_text("2 rows of data/suspects.csv are older than data/split").wait_for()
    page.get_by_text("0 of 2 reviewed").wait_for()
    page.get_by_text(third["path"]).first.wait_for()
    (folder / "corrections.csv").write_text("sha256,path,old,new,who,why\n")
    split(folder)


def test_another_class_is_chosen_and_taken_back(folder, page):
    first, second, *_ = page.suspects
    see(page, first)
    page.get_by_label("Another class").click()
    page.get_by_role("option", name=DOGS).click()
    see(page, second)
    page.keyboard.press("ArrowLeft")
    see(page, first)
    page.get_by_text(f"Decided: {DOGS} (Eva)").wait_for()
    page.keyboard.press("k")
    see(page, second)
    page.get_by_text("1 of 4 reviewed").wait_for()
    assert decisions(folder) == {first["path"]: (CATS, "Eva", "")}


def test_a_malformed_file_is_named_and_stays(folder, page):
    text = "sha256,path,old,new,who,why\nnonsense,a,b,c,,\n"
    see(page, page.suspects[0])
    (folder / "corrections.csv").write_text(text)
    page.keyboard.press("k")
    page.get_by_text("corrections.csv, line 2: expected the SHA-256").first.wait_for()
    assert (folder / "corrections.csv").read_text() == text
    assert not page.get_by_text("Traceback").count()


def test_it_fits_a_phone(process, browser, requested):
    with opened(process[0], browser, requested, viewport=PHONE) as page:
        page.get_by_text("Other images labelled").first.wait_for()
        for element in ("html", '[data-testid="stMain"]'):
            assert page.locator(element).evaluate("e => e.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize("part", [SUSPECTS, "data/split"])
def test_the_page_says_what_is_missing(process, folder, browser, requested, part):
    path = folder / part
    path.rename(path.with_name("away"))
    try:
        with opened(process[0], browser, requested) as page:
            page.get_by_text(f"dvc pull {part} fetches it, dvc repro makes it.").wait_for()
    finally:
        path.with_name("away").rename(path)


def test_server_listens_on_loopback_only(process):
    assert_on_loopback(*process)


def test_make_review_serves_the_page():
    assert "\tpython -m streamlit run app/review.py\n" in (PROJECT / "Makefile").read_text()
