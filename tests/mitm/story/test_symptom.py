"""How connections failed, by mitmproxy's words, which are those of its version."""

import pytest

from mitm.story.record import Record
from mitm.story.symptom import symptom_of
from resolver.symptom import Symptom

CUT = "peer closed connection without sending complete message body"
PROXY = "the proxy 10.0.0.1:3128"


@pytest.mark.parametrize(
    ("failure", "symptom"),
    [
        ("Request destination unknown. Unable to figure out where", Symptom.ITSELF),
        ("[Errno 111] Connect call failed ('127.0.0.1', 1)", Symptom.REFUSED),
        ("[Errno 113] Connect call failed ('192.0.2.1', 1)", Symptom.NO_ROUTE),
        ("[Errno -2] Name or service not known", Symptom.NO_HOST),
        ("[Errno -3] r.test was not looked up in time", Symptom.NO_NAME_SERVER),
        ("it took too long", Symptom.NO_CONNECTION),
        ("Certificate verify failed: self-signed certificate", Symptom.CERTIFICATE),
        ("The remote server does not speak TLS.", Symptom.PLAIN),
        ("a server of TLS answers", Symptom.WANTS_TLS),
        (
            "OpenSSL Error([('SSL routines', '', 'tls alert handshake failure')])",
            Symptom.NO_TLS,
        ),
        ("connection closed early", Symptom.NO_TLS),
        ("server closed connection", Symptom.CLOSED),
        ("this is no HTTP/1 answer", Symptom.NO_HTTP),
        ("unexpected server response: [redacted]", Symptom.CUT),
        (
            f"HTTP/1 protocol error: {CUT} (received 2 bytes, expected 10)",
            Symptom.CUT,
        ),
        ("Client disconnected.", None),
        ("something new", None),
        ("", None),
    ],
)
def test_words(failure: str, symptom: Symptom | None) -> None:
    """Each has a name, and what is new has none; a proxy on the way changes nothing."""
    assert symptom_of(Record(failure=failure))[0] is symptom
    through = Record(failure=f"{failure}, through {PROXY}", proxy=PROXY)
    if not failure.startswith("connection closed"):
        assert symptom_of(through)[0] is symptom


def test_handshake_that_may_be_the_proxys() -> None:
    """Where a proxy is on the way, it may be its tunnel that does not come about."""
    record = Record(failure=f"connection closed early, through {PROXY}", proxy=PROXY)
    assert symptom_of(record)[0] is None


def test_proxy_that_refuses() -> None:
    """It is the proxy that has words then."""
    words = f"{PROXY} refuses to connect to it: 403"
    assert symptom_of(Record(failure=words, proxy=PROXY)) == (Symptom.PROXY, words)


def test_words_of_openssl() -> None:
    """The last of its reasons is told."""
    words = "OpenSSL Error([('SSL routines', '', 'unsupported protocol')])"
    assert symptom_of(Record(failure=words))[1] == "unsupported protocol"
