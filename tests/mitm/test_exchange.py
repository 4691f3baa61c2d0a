"""A body of ours goes out in the place of one that the registry may not end."""

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from mitm.exchange import Substitute, is_answered, stand_in

BODY = b'{"errors":[]}'


@pytest.mark.parametrize("pieces", [[b""], [b"invalid range\n", b""], [b"a", b"b"]])
def test_substitute(pieces: list[bytes]) -> None:
    """It goes out once: for the first piece, or at the end where there is none."""
    substitute = Substitute(BODY)
    assert not substitute.is_sent
    sent = [substitute(piece) for piece in pieces]
    assert (sent[0], b"".join(sent)) == (BODY, BODY)
    assert substitute.is_sent


def test_range_that_has_nothing_is_answered_at_once() -> None:
    """Then the client has all of its answer, whatever becomes of the registry's."""
    flow = tflow.tflow()
    flow.response = http.Response.make(416, BODY)
    assert stand_in(flow.response) == BODY
    assert flow.response.headers["Connection"] == "close"
    assert not is_answered(flow)
    assert callable(flow.response.stream)
    assert flow.response.stream(b"invalid range\n") == BODY
    assert is_answered(flow)


def test_other_errors_are_held() -> None:
    """They take the place of a body that has come."""
    flow = tflow.tflow()
    flow.response = http.Response.make(503, BODY)
    assert stand_in(flow.response) == BODY
    assert not flow.response.stream
    assert not is_answered(flow)


def test_no_answer() -> None:
    """A flow that broke before its answer began was not answered."""
    assert not is_answered(tflow.tflow())
