"""Plain HTTP is plain: what a client gets that begins a TLS handshake all the same."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

import serve
from demo.proxy import Proxy, StartError
from localcloud import LocalCloud
from tests.authority import Authority
from tests.integration.raw import connected, receive, send
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import has_traceback, wait_until

REQUEST = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def make_hello() -> bytes:
    """Return what a client that wants TLS says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    wanting = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        wanting.do_handshake()
    return outgoing.read()


HELLO = make_hello()
PIECES = {
    "whole": (HELLO,),
    "one byte": (HELLO[:1],),
    "cut in half": (HELLO[: len(HELLO) // 2],),
    "a byte at a time": tuple(HELLO[at : at + 1] for at in range(len(HELLO))),
    "followed by HTTP": (HELLO, REQUEST),
    "one byte, then HTTP": (HELLO[:1], REQUEST),
}


@pytest.fixture(scope="module")
def proxy(cloud: LocalCloud) -> Iterator[Proxy]:
    """A proxy of which nobody asked for TLS, and which soon loses patience."""
    arguments = ("--set", "balena_request_timeout=1")
    with Proxy(cloud.registry_url, arguments=arguments) as running:
        yield running


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_hello_is_answered_as_servers_without_tls_do(
    proxy: Proxy, pieces: tuple[bytes, ...], *, ends: bool
) -> None:
    """There is one answer, in plain HTTP, and it says how TLS is had."""
    head, _, body = send(proxy, *pieces, ends=ends).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    (error,) = json.loads(body)["errors"]
    assert error["code"] == "UNSUPPORTED"
    for word in ("plain HTTP", "TLS=authority", "TLS_CERT"):
        assert word in error["message"]
    assert "Traceback" not in proxy.log
    assert "crashed" not in proxy.log


def test_client_that_stays_is_let_go(proxy: Proxy) -> None:
    """It is not waited for longer than for any request."""
    with connected(proxy) as connection:
        connection.sendall(HELLO[:1])
        assert b"400 Bad Request" in receive(connection)
        wait_until(lambda: "not whole after 1 s" in proxy.log, "patience ends")


@pytest.mark.parametrize(("tls", "scheme"), [("", "http"), ("authority", "https")])
def test_start_says_what_is_served(cloud: LocalCloud, tls: str, scheme: str) -> None:
    """The URL in the log is one that works."""
    with Proxy(cloud.registry_url, environment={"TLS": tls}) as proxy:
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        assert f"are served at {url};" in proxy.log
        own = serve.CONFDIR / "mitmproxy-ca-cert.pem"
        with plain_session(own) as session:
            assert session.get(f"{url}/ping", timeout=TIMEOUT).text == "pong"


def test_with_tls_each_is_served(cloud: LocalCloud) -> None:
    """Plain HTTP stays, and a hello that comes byte by byte is still a hello."""
    with Proxy(cloud.registry_url, environment={"TLS": "authority"}) as proxy:
        assert send(proxy, REQUEST).endswith(b"pong")
        with connected(proxy) as connection:
            for piece in PIECES["a byte at a time"]:
                connection.sendall(piece)
            assert connection.recv(1) == HELLO[:1]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("balena_tls=yes", "balena_tls: 'yes' is not one of off, authority"),
        ("balena_tls=authority", "balena_tls: authority contradicts balena_tls_cert"),
    ],
)
def test_options_that_contradict_stop_the_start(
    cloud: LocalCloud, tmp_path: Path, option: str, said: str
) -> None:
    """The message names the option, and there is no traceback."""
    own = Authority("own").server_file(tmp_path)
    arguments = ("--set", option, "--set", f"balena_tls_cert={own}")
    proxy = Proxy(cloud.registry_url, arguments=arguments)
    with pytest.raises(StartError, match=said) as stopped, proxy:
        pass
    assert not has_traceback(str(stopped.value))
