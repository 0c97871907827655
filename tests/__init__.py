import pytest

# Their assertions, too, tell the values that differ.
pytest.register_assert_rewrite("tests.helpers")
