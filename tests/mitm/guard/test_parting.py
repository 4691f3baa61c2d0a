"""What a client is told before its connection is closed, and when nothing."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from mitmproxy import connection, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.test import taddons, tflow

from mitm.guard.pace import Pace
from mitm.guard.parting import Parting, replace_http
from mitm.guard.reader import REQUEST_LENGTH_MAX, RequestReader
from resolver import errors
from tests.mitm.guard.transport import Transport

HOST = b"Host: proxy.example\r\n"
PING = b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n"
FORM = (
    b"POST /auth/v1/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n"
)
LONG = bytes(REQUEST_LENGTH_MAX)


class Silent:
    """A client that sends nothing more."""

    async def read(self, _: int, /) -> bytes:
        """Wait for ever."""
        await asyncio.Event().wait()
        return b""


class Talk:
    """A client's connection, whose hooks are over when the test says so."""

    def __init__(self, options: taddons.context) -> None:
        self.context = context.Context(tflow.tclient_conn(), options.options)
        self.context.client.alpn = None
        self.context.server.address = ("registry", 80)
        self.reader = RequestReader(Silent(), "c", idle_seconds=60, request_seconds=30)
        self.pace = Pace(Transport())
        self._layer = Parting(
            HttpLayer(self.context, HTTPMode.transparent), self.reader, self.pace
        )
        self._hooks: list[commands.StartHook] = []
        self.happen(events.Start())

    def happen(self, event: events.Event) -> list[commands.Command]:
        """Return what is done to the client's connection."""
        done: list[commands.Command] = []
        for command in self._layer.handle_event(event):
            if isinstance(command, commands.StartHook):
                self._hooks.append(command)
            elif isinstance(command, commands.ConnectionCommand):
                done.append(command)
        return done

    def send(self, data: bytes) -> list[commands.Command]:
        """Let the client send something."""
        return self.happen(events.DataReceived(self.context.client, data))

    def finish_hook(self, answer: bytes | None = None) -> list[commands.Command]:
        """End the oldest hook, perhaps with an answer."""
        hook = self._hooks.pop(0)
        (flow,) = hook.args()
        if answer is not None:
            flow.response = http.Response.make(200, answer)
        return self.happen(events.HookCompleted(hook))


@pytest.fixture
def talk() -> Iterator[Talk]:
    """A connection on which nothing was said."""
    with asyncio.Runner() as runner, taddons.context(Proxyserver()) as options:

        async def begin() -> Talk:
            return Talk(options)

        made = runner.run(begin())
        # What was read waits for its time on the loop that runs.
        made.reader.linger = lambda: None  # type: ignore[method-assign]
        yield made


def status(done: list[commands.Command], *, half_close: bool = True) -> int:
    """Return the status of an answer with an OCI error, after which all is over."""
    sent, closed = done
    assert isinstance(sent, commands.SendData)
    assert isinstance(closed, commands.CloseConnection)
    assert isinstance(closed, commands.CloseTcpConnection) == half_close
    head, _, body = sent.data.partition(b"\r\n\r\n")
    assert b"Connection: close" in head.split(b"\r\n")
    (error,) = json.loads(body)["errors"]
    assert error["message"].encode() in head.split(b"\r\n")[0]
    return int(head.split()[1])


def test_long_head(talk: Talk) -> None:
    """It is answered, and the client is heard out until it goes away."""
    assert not talk.send(b"GET /v2/ HTTP/1.1\r\nX: ")
    assert status(talk.send(LONG)) == 431
    assert not talk.send(b"\r\n\r\n" + PING)
    assert not talk._hooks
    (closed,) = talk.happen(events.ConnectionClosed(talk.context.client))
    assert isinstance(closed, commands.CloseConnection)


def test_long_body(talk: Talk) -> None:
    """Of a body in chunks nobody knows before how long it gets."""
    assert not talk.send(FORM)
    assert not talk.finish_hook()
    assert status(talk.send(LONG)) == 413


def test_killed_request(talk: Talk) -> None:
    """Where a request is ended for what its head says, the client is told what."""
    talk.send(FORM)
    assert not talk.send(b"1\r\na\r\n" * (REQUEST_LENGTH_MAX // 6))
    (flow,) = talk._hooks[0].args()
    talk.reader.farewell = errors.LengthUnknown("how long is it?")
    flow.kill()
    assert not talk.finish_hook()
    assert status(talk.finish_hook()) == 411


def test_unfinished_request(talk: Talk) -> None:
    """Nothing is read any more after the time is over, so the connection is closed."""
    talk.send(FORM)
    talk.reader.farewell = errors.RequestUnfinished("too slow")
    client = talk.context.client
    client.state &= ~connection.ConnectionState.CAN_READ
    done = talk.happen(events.ConnectionClosed(client))
    assert status(done, half_close=False) == 408


@pytest.mark.parametrize("hooks", [1, 2, 3])
def test_pipelined_requests(talk: Talk, hooks: int) -> None:
    """What follows a request that is being answered gets no answer in between."""
    talk.send(PING)
    for number in range(hooks):
        talk.finish_hook(b"pong" if number == 1 else None)
    done = talk.send(LONG + PING)
    assert [type(command) for command in done] == [commands.CloseConnection]


def test_next_request(talk: Talk) -> None:
    """After a whole answer there is a place for another one; what was sent counts."""
    talk.send(PING)
    answered = [talk.finish_hook(b"pong" if n == 1 else None) for n in range(4)]
    sent = [c.data for c in answered[-1] if isinstance(c, commands.SendData)]
    assert sent[-1] == b"pong"
    assert talk.pace.sent == sum(map(len, sent))
    assert status(talk.send(b"GET /" + LONG)) == 431


def test_stands_right_above_http(talk: Talk) -> None:
    """In TLS as well, so that what it sends is encrypted."""

    def stand(http_layer: HttpLayer) -> layer.Layer:
        return Parting(http_layer, talk.reader, talk.pace)

    http_layer = HttpLayer(talk.context, HTTPMode.transparent)
    assert isinstance(replace_http(http_layer, stand), Parting)
    tls = ClientTLSLayer(talk.context)
    tls.child_layer = HttpLayer(talk.context, HTTPMode.transparent)
    assert replace_http(tls, stand) is tls
    assert isinstance(tls.child_layer, Parting)
