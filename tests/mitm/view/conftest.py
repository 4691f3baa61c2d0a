"""What the tests of the views share: a mitmproxy that knows them."""

from collections.abc import Iterator

import pytest
from mitmproxy.test import taddons

from mitm.view import register_views


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    """mitmproxy, as far as content views need it."""
    with taddons.context():
        register_views()
        yield


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrap text late, so that a test can look for a sentence."""
    monkeypatch.setattr("mitm.view.line.WIDTH", 100)
