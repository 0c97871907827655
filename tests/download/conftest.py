"""Fixtures of the tests that fetch images."""

import pytest

from transfer.download import fetch


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give the test its own cache, and no proxy, no mirror and no pauses before retries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(fetch.MIRROR, raising=False)
    monkeypatch.setattr(fetch, "RETRY_SECONDS", 0)


@pytest.fixture
def target(tmp_path):
    """Return the folder to download to, which does not exist yet."""
    return tmp_path / "data" / "raw"
