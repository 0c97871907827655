import errno
import os
import subprocess
import sys

import pytest

from tests.helpers.project import PROJECT
from transfer.core.errors import UserError, printable, run_main, shown


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("what to do"), "error: what to do"),
        (
            OSError(errno.ENOSPC, "No space left", "a.npy"),
            "error: No space left: a.npy; make room and run it again",
        ),
        (OSError(errno.EACCES, "Denied", "a.npy"), "error: Denied: a.npy"),
        (OSError("odd\n, as HDF5's"), "error: odd , as HDF5's"),
        (KeyboardInterrupt(), "interrupted; run the same command again to continue from here"),
    ],
)
def test_errors_that_a_user_can_fix_are_one_line(error, line):
    with pytest.raises(SystemExit) as caught:
        run_main(failing(error))
    assert caught.value.code == line  # Python prints it to stderr and exits with code 1


def test_errors_in_the_code_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_main(failing(ZeroDivisionError()))


PRINT = r"""
import sys
from transfer.core.console import quiet
from transfer.core.errors import UserError, run_main
def main():
    print("\u732b \xe9 \udcff")
    with quiet() as stderr:
        print("\u732b", file=stderr)
    raise UserError("\u72ac")
run_main(main)
"""
ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("environment", "out", "error"),
    [
        ({"PYTHONUTF8": "1"}, "猫 é ".encode() + b"\xff\n", "猫\nerror: 犬\n".encode()),
        (ASCII_LOCALE, rb"\u732b \xe9 \udcff" + b"\n", b"\\u732b\nerror: \\u72ac\n"),
        ({"PYTHONIOENCODING": "ascii"}, rb"\u732b \xe9 \udcff" + b"\n", None),
        ({"PYTHONIOENCODING": "latin-1"}, rb"\u732b " + b"\xe9" + rb" \udcff" + b"\n", None),
    ],
)
def test_every_name_can_be_printed_whatever_the_encoding(environment, out, error):
    done = subprocess.run(
        [sys.executable, "-c", PRINT],
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
    )
    assert done.stdout == out
    assert b"Traceback" not in done.stderr and done.returncode == 1
    assert error in (None, done.stderr)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('it\'s a "猫" \\', 'it\'s a "猫" \\'),
        ("a\nb\r\tc\x1b[0m\u2028\0", r"a\nb\r\tc\x1b[0m\u2028\x00"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
    ],
)
def test_what_is_not_printable_is_escaped_once(text, expected):
    assert printable(text) == printable(printable(text)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\nb", "'a\\nb'"),
        ("x" * 150, repr("x" * 150)),
        (1e-6, "1e-06"),
        (None, "None"),
        ([1, [2, [3]]], "[1, [2, [...]]]"),
    ],
)
def test_values_are_shown_in_one_line(value, expected):
    assert shown(value) == expected


@pytest.mark.parametrize("value", ["x" * 10**6, list(range(10**6)), 10**4000, {"a": "y" * 10**6}])
def test_large_values_are_shortened(value):
    assert len(shown(value)) < 300
    assert "..." in shown(value)
