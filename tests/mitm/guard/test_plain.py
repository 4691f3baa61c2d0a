"""What a client is told that wants TLS from a port of plain HTTP."""

import json

import pytest
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.test import taddons, tflow

from mitm.guard import plain

HELLO = bytes.fromhex("16030100")


def asked(options: taddons.context, data: bytes) -> layer.NextLayer:
    """Return mitmproxy's question what to do with a client that sent this."""
    made = context.Context(tflow.tclient_conn(), options.options)
    question = layer.NextLayer(made)
    question.events.append(events.DataReceived(made.client, data))
    return question


@pytest.mark.parametrize("data", [HELLO, HELLO[:1], HELLO + b"GET / HTTP/1.1\r\n"])
def test_hello_is_answered_in_plain_http(data: bytes) -> None:
    """The first byte decides; the answer is whole, and reading goes on after it."""
    with taddons.context() as options:
        question = asked(options, data)
        plain.answer_hello(question)
        assert question.layer
        client = question.context.client
        sent, closed = question.layer.handle_event(events.DataReceived(client, data))
        assert isinstance(sent, commands.SendData)
        assert isinstance(closed, commands.CloseTcpConnection)
        assert closed.half_close
        head, _, body = sent.data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"content-length: %d" % len(body) in head.lower().split(b"\r\n")
        assert "plain HTTP" in json.loads(body)["errors"][0]["message"]
        for later in (
            events.DataReceived(client, b"GET /v2/ HTTP/1.1\r\n\r\n"),
            events.ConnectionClosed(client),
        ):
            assert not list(question.layer.handle_event(later))


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n", b"\x15\x03\x01"])
def test_all_else_is_left_to_mitmproxy(data: bytes) -> None:
    """Who begins in another way is served, or refused, as HTTP."""
    with taddons.context() as options:
        question = asked(options, data)
        plain.answer_hello(question)
        assert question.layer is None
