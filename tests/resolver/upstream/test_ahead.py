"""The API is connected to before it is asked."""

from contextlib import suppress
from queue import Empty, SimpleQueue

import pytest

from resolver.upstream import ahead
from resolver.upstream.ahead import PAUSE_SECONDS, ApiConnection
from resolver.upstream.registry import Upstream
from tests.resolver.fake import REGISTRY, SOON, FakeTransport, challenged

API = "https://api.example"
WAIT_SECONDS = 10


class Preparing:
    """Notes what is connected to."""

    def __init__(self) -> None:
        self.urls: SimpleQueue[str] = SimpleQueue()

    def prepare(self, url: str) -> None:
        """Take note."""
        self.urls.put(url)


def test_the_api_is_connected_to_now_and_then() -> None:
    """Once it is known which one it is, and once in a while, however many ask."""
    now, transport = 0.0, Preparing()
    upstream = Upstream(REGISTRY, API, FakeTransport({"/v2/": challenged()}))
    connection = ApiConnection(upstream, transport, clock=lambda: now)
    connection.expect_request()
    upstream.connect(SOON)
    for _ in range(3):
        connection.expect_request()
    now += PAUSE_SECONDS
    connection.expect_request()
    urls = [transport.urls.get(timeout=WAIT_SECONDS) for _ in range(2)]
    assert urls == [API, API]
    with suppress(Empty):
        raise AssertionError(transport.urls.get_nowait())


def test_no_thread_is_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has none left, the request is served without."""

    def start(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ahead, "start_thread", start)
    upstream = Upstream(REGISTRY, API, FakeTransport({"/v2/": challenged()}))
    upstream.connect(SOON)
    ApiConnection(upstream, Preparing()).expect_request()
