import errno

import pytest

from transfer.errors import UserError, printable, run


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("what to do"), "error: what to do"),
        (OSError(errno.ENOSPC, "No space left", "a.npy"), "error: No space left: a.npy"),
        (OSError("odd"), "error: odd"),
        (KeyboardInterrupt(), "interrupted; the same command goes on from here"),
    ],
)
def test_errors_for_people_are_one_line(error, line):
    with pytest.raises(SystemExit) as caught:
        run(failing(error))
    assert caught.value.code == line  # what Python prints to stderr, with exit code 1


def test_mistakes_of_the_code_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(failing(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('it\'s a "猫" \\', 'it\'s a "猫" \\'),
        ("a\nb\r\tc\x1b[0m\u2028\0", r"a\nb\r\tc\x1b[0m\u2028\x00"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
    ],
)
def test_printable(text, expected):
    assert printable(text) == printable(printable(text)) == expected
