"""Why there is no answer, in words that an operator need not look up."""

import socket
from http.client import RemoteDisconnected

import pytest
import requests

from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.failure import cause, unreachable
from resolver.upstream.share import busy

CAUSES = (
    (socket.gaierror(socket.EAI_NONAME, "x"), "there is no such host"),
    (socket.gaierror(socket.EAI_AGAIN, "x"), "its name cannot be looked up"),
    (ConnectionRefusedError(111, "x"), "it refuses the connection"),
    (ConnectionResetError(104, "x"), "it reset the connection"),
    (RemoteDisconnected("x"), "it closed the connection"),
    (TimeoutError("x"), "it takes too long"),
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
