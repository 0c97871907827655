import pytest

from transfer.download.links import CIRCLE, NOTHING, OUT, followed, link_target

FILES = {"./a/1": "first", "a/b/2": "second", "c": "third"}


def follow(**links):
    links = {name.replace("_", "/"): target for name, target in links.items()}
    return dict(followed(FILES, links))


def test_without_links_there_is_nothing():
    assert follow() == {}


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("c", {"x": "third"}),
        ("./a/../c", {"x": "third"}),
        ("a", {"x/1": "first", "x/b/2": "second"}),
        ("a/b", {"x/2": "second"}),
        ("d", {"x": NOTHING}),
        ("/etc/passwd", {"x": OUT}),
        ("../a", {"x": OUT}),
        ("x", {"x": CIRCLE}),
        (".", {"x": CIRCLE}),
        ("..c", {"x": NOTHING}),
    ],
)
def test_a_link_is_followed_if_it_stays_inside(target, found):
    assert follow(x=target) == found


def test_links_to_links_and_through_links_are_followed():
    assert follow(x="y", y="a", z="x/b/2") == {
        **{"x/1": "first", "x/b/2": "second", "y/1": "first", "y/b/2": "second"},
        "z": "second",
    }


def test_links_in_a_folder_that_is_linked_to_are_followed_but_not_in_a_circle():
    assert follow(x="a", a_up="c", a_self="a") == {
        **{"x/1": "first", "x/b/2": "second", "x/up": "third", "a/up": "third"},
        **{"x/self": CIRCLE, "a/self": CIRCLE},
    }


def test_the_target_of_a_symbolic_link_is_beside_it():
    assert link_target("a/b/x", "../1") == "a/b/../1"
