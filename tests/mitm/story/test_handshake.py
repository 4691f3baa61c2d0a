"""What is kept of a handshake that failed."""

from types import SimpleNamespace
from typing import Any

from mitmproxy.test import tflow

from cause.finding import LENGTH_MAX
from mitm.story.handshake import Handshake


def failed(error: str) -> Handshake:
    """Return a handshake of which mitmproxy says this."""
    client = tflow.tclient_conn()
    client.error = error
    data: Any = SimpleNamespace(
        context=SimpleNamespace(client=client), conn=client, ssl_conn=None
    )
    return Handshake.failed(data)


def test_little_is_kept() -> None:
    """The words may be as long as what a client sends."""
    made = failed("Cannot parse ClientHello: " + "16" * 100_000)
    assert len(made._words or "") <= LENGTH_MAX
