"""Why there is no answer, in words that an operator need not look up."""

import socket
import ssl
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected

import pytest
import requests

from resolver.errors import Reason, ServiceUnavailable
from resolver.symptom import Symptom
from resolver.upstream.failure import cause, symptom_of, unreachable
from resolver.upstream.share import busy


def no_tls(reason: str) -> ssl.SSLError:
    """Return what OpenSSL says of an answer that is no TLS."""
    error = ssl.SSLError(1, f"[SSL: {reason}] x (_ssl.c:1000)")
    error.reason = reason
    return error


CAUSES = (
    (socket.gaierror(socket.EAI_NONAME, "x"), "there is no such host"),
    (socket.gaierror(socket.EAI_AGAIN, "x"), "its name cannot be looked up"),
    (ConnectionRefusedError(111, "x"), "it refuses the connection"),
    (ConnectionResetError(104, "x"), "it reset the connection"),
    (RemoteDisconnected("x"), "it closed the connection"),
    (TimeoutError("x"), "it takes too long"),
    (
        no_tls("WRONG_VERSION_NUMBER"),
        "it speaks plain HTTP, but was addressed with TLS",
    ),
    (OSError(113, "No route to host"), "OSError: [Errno 113] No route to host"),
)
URL = "https://api.example.com:8443/v7/release?Signature=abc"


@pytest.mark.parametrize(("bottom", "words"), CAUSES, ids=[text for _, text in CAUSES])
def test_cause(bottom: Exception, words: str) -> None:
    """What began it is what is said, and the URL is told without its path."""
    error = requests.ConnectionError("x")
    error.__context__ = bottom
    assert cause(error) == words
    failure = unreachable(URL, error)
    said = f"https://api.example.com:8443 does not answer: {words}"
    assert failure.explanation == said
    assert failure.in_log == f"{failure.message} ({said})"


@pytest.mark.parametrize(
    ("bottom", "symptom"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), Symptom.NO_HOST),
        (socket.gaierror(socket.EAI_AGAIN, "x"), Symptom.NO_NAME_SERVER),
        (UnicodeError("x"), Symptom.NO_HOST),
        (ConnectionRefusedError(111, "x"), Symptom.REFUSED),
        (OSError(113, "No route to host"), Symptom.NO_ROUTE),
        (ConnectionResetError(104, "x"), Symptom.RESET),
        (RemoteDisconnected("x"), Symptom.CLOSED),
        (TimeoutError("x"), Symptom.SILENT),
        (BadStatusLine("SSH-2.0"), Symptom.NO_HTTP),
        (BadStatusLine("HTTP/1.1 20"), None),
        (IncompleteRead(b""), Symptom.CUT),
        (ValueError("x"), None),
    ],
    ids=repr,
)
def test_symptom(bottom: Exception, symptom: Symptom | None) -> None:
    """What is known has a name, and nothing else has."""
    error = requests.ConnectionError("x")
    error.__context__ = bottom
    assert symptom_of(error) is symptom
    assert unreachable(URL, error).seen.symptom is symptom


def test_symptom_of_a_connection_that_takes_too_long() -> None:
    """The library says whether there was one."""
    error = requests.ConnectTimeout("x")
    error.__context__ = TimeoutError("x")
    assert symptom_of(error) is Symptom.NO_CONNECTION


def test_time_of_a_request() -> None:
    """A deadline of our own is no other than one of the library."""
    assert cause(requests.Timeout("the time is over")) == "it takes too long"


def test_whose_fault_it_is() -> None:
    """Who is nearest knows; and nobody is to blame where the proxy itself is busy."""
    error = ServiceUnavailable.because(Reason.STATUS, "it fails")
    error.blame("http://api")
    error.blame("http://registry")
    assert error.in_log == "it fails (by http://api)"
    error = busy()
    error.blame("http://api")
    assert error.in_log == error.message
