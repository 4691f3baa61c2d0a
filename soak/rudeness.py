"""What clients do that are slow, hostile or gone: nobody else may notice."""

import time
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from urllib.parse import urlencode

from localcloud.image import Blob
from resolver.grammar.challenge import TOKEN_PATH
from soak.client import BLOB_FAILURES, REGISTRY, Client
from soak.outcome import BROKEN, CLOSED, LEFT, SILENT, Question
from soak.pull import choose
from soak.refusal import INVALID, UNAUTHORIZED, UNSUPPORTED
from soak.scene import LARGE, LARGE_LAYER_BYTES
from soak.wire import BrokenOff, Wire

HOST = b"Host: proxy.example\r\n"
BYE = b"Connection: close\r\n\r\n"
HALVES = (
    b"",
    b"G",
    b"GET /v2/ HTTP/1.1\r\nX: ",
    b"GET /v2/ HTTP/1.1\r\n" + HOST,
    b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 9\r\n" + HOST + b"\r\n",
    b"POST /auth/v1/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n",
    b"\x16\x03\x01\x02\x00",
    b"\x16\x03\x01\x00\x05hello",
)
"""What begins a request, or a handshake."""
MALFORMED = {
    b"hello\r\n\r\n": (UNSUPPORTED,),
    b"GET /v2/ HTTP/1.1\r\n" + BYE: (UNSUPPORTED,),
    b"GET /v2/ HTTP/1.1\r\nHost: a/b\r\n" + BYE: (UNSUPPORTED,),
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + BYE: (UNSUPPORTED,),
    b"GET http://evil.example/v2/ HTTP/1.1\r\n" + HOST + BYE: (UNSUPPORTED,),
    b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + BYE: (UNSUPPORTED,),
    b"GET /v2/../v7/release HTTP/1.1\r\n" + HOST + BYE: (INVALID,),
    b"GET /v2/a/\xff/manifests/1 HTTP/1.1\r\n" + HOST + BYE: (INVALID,),
    b"GET /v2/a%2Fb/manifests/1 HTTP/1.1\r\n" + HOST + BYE: (INVALID,),
    b"GET /v2/a/b/manifests/1 HTTP/1.1\r\nAuthorization: Bearer x~%%\r\n"
    + HOST
    + BYE: (UNAUTHORIZED,),
    b"GET /auth/v1/token HTTP/1.1\r\nAuthorization: Basic !!\r\n" + HOST + BYE: (
        UNSUPPORTED,
    ),
    b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 99999\r\n" + HOST + BYE: (
        CLOSED,
    ),
}
SLOW_BUFFER = 8192
"""Bytes that the system takes for a client that does not read."""
SLOW_CHUNK = 1 << 17
SLOW_SECONDS = 0.1
PAUSE_SECONDS = (0.5, 6.0)

type Then = Callable[[Wire], str]
"""What goes on after a request was sent, and returns what came."""


def break_off(client: Client) -> None:
    """Go away in the middle of a blob, with a goodbye or without one."""
    length = client.chance.randrange(LARGE_LAYER_BYTES)

    def then(wire: Wire) -> str:
        came = wire.head()
        if came != "200":
            return came
        wire.read(length)
        if client.happens(0.5):
            wire.reset()
        return LEFT

    blob, request = _ask_for_layer(client)
    question = Question(
        f"GET {blob.digest}, {length} bytes of it", (LEFT,), REGISTRY, BLOB_FAILURES
    )
    _on_wire(client, question, request, then)


def read_slowly(client: Client) -> None:
    """Take a blob in little pieces, with a pause; then the rest of it, or no more."""
    blob, request = _ask_for_layer(client)
    pieces = client.chance.randrange(10, 50)
    is_whole = client.happens(0.5)

    def then(wire: Wire) -> str:
        came = wire.head()
        if came != "200":
            return came
        found = sha256()
        client.rest(client.chance.uniform(*PAUSE_SECONDS))
        for number in count():
            content = wire.read(SLOW_CHUNK)
            found.update(content)
            if not content:
                break
            if number < pieces:
                client.rest(SLOW_SECONDS)
            elif not is_whole:
                return LEFT
        if f"sha256:{found.hexdigest()}" != blob.digest:
            return "a wrong digest"
        return came

    question = Question(
        f"GET {blob.digest}, slowly",
        ("200", LEFT),
        REGISTRY,
        BLOB_FAILURES,
        is_slow=True,
    )
    _on_wire(client, question, request, then, buffer=SLOW_BUFFER)


def begin_only(client: Client) -> None:
    """Send no whole request, wait for a while, and go away."""
    half = client.chance.choice(HALVES)

    def then(wire: Wire) -> str:
        client.rest(client.chance.uniform(0, 2))
        if client.happens(0.3):
            wire.reset()
        return LEFT

    _on_wire(client, Question(f"{half!r} and no more", (LEFT,)), half, then)


def vanish(client: Client) -> None:
    """Ask for a token, or for a layer, and be gone before the answer comes."""
    scope = urlencode([("scope", f"repository:{choose(client).alias}:pull")])
    path = f"{TOKEN_PATH}?{scope}"
    request = f"GET {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n"
    if client.happens(0.5):
        _, request = _ask_for_layer(client)

    def then(wire: Wire) -> str:
        client.rest(client.chance.choice([0, 0.001, 0.01]))
        if client.happens(0.5):
            wire.reset()
        return LEFT

    _on_wire(client, Question("a request, and gone", (LEFT,)), request, then)


def be_idle(client: Client) -> None:
    """Keep a connection without a request on it, and then use it again."""
    ping = b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n"

    def then(wire: Wire) -> str:
        for _ in range(client.chance.randint(1, 2)):
            came = wire.head()
            if came != "200":
                return came
            wire.read(SLOW_CHUNK)
            client.rest(client.chance.uniform(*PAUSE_SECONDS))
            wire.send(ping)
        return wire.head()

    question = Question("GET /ping, idle in between", ("200",), is_slow=True)
    _on_wire(client, question, ping, then)


def be_malformed(client: Client) -> None:
    """Send what is no sound request."""
    request, expected = client.chance.choice(list(MALFORMED.items()))
    question = Question(f"{request!r}", expected)
    _on_wire(client, question, request, Wire.head)


def _ask_for_layer(client: Client) -> tuple[Blob, bytes]:
    """Return a large layer, and the request for it with a token."""
    image = client.scene.images[client.scene.large]
    layers = [b for b in image.blobs if len(b.content) > LARGE_LAYER_BYTES // 2]
    blob = client.chance.choice(layers)
    login = f"Authorization: Bearer {client.get_token(LARGE)}\r\n".encode()
    line = f"GET /v2/{LARGE}/blobs/{blob.digest} HTTP/1.1\r\n".encode()
    return blob, line + login + HOST + b"\r\n"


def _on_wire(
    client: Client, question: Question, request: bytes, then: Then, *, buffer: int = 0
) -> None:
    """Send a request on a connection of its own, and note what came."""
    began = time.monotonic()
    came = CLOSED
    try:
        with Wire(client.scene.proxy.port, buffer=buffer) as wire:
            wire.send(request)
            came = then(wire)
    except BrokenOff:
        came = BROKEN
    except TimeoutError:
        came = SILENT
    except OSError:
        came = CLOSED
    client.note(question, began, came)
