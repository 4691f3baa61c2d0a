"""A body of ours goes out in the place of one that the registry may not end."""

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from mitm.exchange import Decision, Exchange, Substitute, rewrite_head
from resolver.content.answer import View
from resolver.content.forward import Forward
from resolver.grammar.endpoint import Base

BODY = b'{"errors":[]}'


@pytest.mark.parametrize("pieces", [[b""], [b"invalid range\n", b""], [b"a", b"b"]])
def test_substitute(pieces: list[bytes]) -> None:
    """It goes out once: for the first piece, or at the end where there is none."""
    substitute = Substitute(BODY)
    assert not substitute.is_sent
    sent = [substitute(piece) for piece in pieces]
    assert (sent[0], b"".join(sent)) == (BODY, BODY)
    assert substitute.is_sent


def broken(status: int) -> tuple[http.HTTPFlow, Exchange]:
    """Return a flow whose answer is an error of ours."""
    flow, exchange = tflow.tflow(), Exchange("/v2/", {})
    flow.response = http.Response.make(status, BODY)
    exchange.keep_error(flow.response)
    assert exchange.error_body == BODY
    return flow, exchange


def test_range_that_has_nothing_is_answered_at_once() -> None:
    """Then the client has all of its answer, whatever becomes of the registry's."""
    flow, exchange = broken(416)
    assert flow.response
    assert flow.response.headers["Connection"] == "close"
    assert not exchange.is_answered(flow)
    assert callable(flow.response.stream)
    assert flow.response.stream(b"invalid range\n") == BODY
    assert exchange.is_answered(flow)


def test_other_errors_are_held() -> None:
    """They take the place of a body that has come."""
    flow, exchange = broken(503)
    assert flow.response
    assert not flow.response.stream
    assert not exchange.is_answered(flow)


def test_no_answer() -> None:
    """A flow that broke before its answer began was not answered."""
    assert not Exchange("/v2/", {}).is_answered(tflow.tflow())


def test_ways_past_the_proxy_are_not_passed_on() -> None:
    """A registry may name others for itself; clients stay with the one they use."""
    flow, exchange = tflow.tflow(), Exchange("/v2/", {})
    view = View("http://proxy", "http://proxy/auth/v1/token", "registry")
    decision = Decision(Base(), Forward("/v2/", None), view)
    headers = {"Alt-Svc": 'h3=":443"', "ETag": "1"}
    response = http.Response.make(200, b"{}", headers)
    rewrite_head(flow, response, exchange, decision)
    assert dict(response.headers) == {"ETag": "1", "content-length": "2"}
