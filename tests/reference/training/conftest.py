import os

import pytest


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here outlives a power cut, and on a busy disk each wait may take a second."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
