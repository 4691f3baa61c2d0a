"""Connections that fail: the host, the reason in a sentence, and what to do."""

import datetime as dt
import gzip
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cause.finding import Cause, Role
from localcloud.relay import Failure, Relay
from localcloud.relay import Fault as Cut
from localcloud.server import Response, Server
from pull import connection, diagnosis
from pull.connection import Connection, Trust
from pull.fault import Fault
from tests.authority import Authority, tls_context
from tests.deaf import deaf
from tests.integration.scripted import registry

USUAL = Trust()


def ask(url: str, trust: Trust = USUAL, role: Role = Role.REGISTRY) -> Fault:
    """Ask in vain, and return why."""
    with Connection(trust) as one, pytest.raises(Fault) as caught:
        one.ask(role, f"{url}/v2/")
    return caught.value


@contextmanager
def server(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server that answers everything; yield its host and port."""
    with Server(tls=tls) as one:
        one.application = lambda _: Response(200)
        yield one.host


@pytest.mark.parametrize(
    ("number", "words", "step"),
    [
        (
            socket.EAI_NONAME,
            "there is no host of the name r.example, where the",
            "spel",
        ),
        (socket.EAI_AGAIN, "the name of the registry r.example cannot be", "getent"),
    ],
)
def test_name(
    number: int, words: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown name and a silent name server are two things."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "no such luck")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    fault = ask("https://r.example")
    assert fault.cause is Cause.DNS
    assert str(fault).startswith(words)
    assert step in fault.advice
    assert ask("https://r.example", role=Role.STORAGE).cause is Cause.STORAGE


def test_name_that_is_too_long() -> None:
    """What is no name of a host is not looked up."""
    assert ask(f"http://{'a' * 64}.example").cause is Cause.DNS


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_refused(host: str) -> None:
    """Where nobody listens, the proxy may not run."""
    fault = ask(f"http://{host}:1")
    assert fault.cause is Cause.NETWORK
    assert str(fault) == (f"the registry at {host}:1 refuses the connection")
    assert "registry-proxy run" in fault.advice


def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall drops what it does not want."""
    monkeypatch.setattr(connection, "TIMEOUT", 0.3)
    monkeypatch.setattr(diagnosis, "TIMEOUT", 0.3)
    with deaf() as port:
        fault = ask(f"http://127.0.0.1:{port}")
    assert str(fault).endswith(f":{port} takes no connection within 0.3 seconds")
    assert fault.advice == "check the port, and what listens there"


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Failure.HANG, "does not answer within 0.3 seconds"),
        (Failure.RESET, "reset the connection"),
    ],
)
def test_no_answer(
    failure: Failure, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection may come about, and nothing with it."""
    monkeypatch.setattr(connection, "TIMEOUT", 0.3)
    monkeypatch.setattr(diagnosis, "TIMEOUT", 0.3)
    with server() as host, Relay(int(host.rpartition(":")[2])) as relay:
        relay.fail(Cut(failure))
        fault = ask(f"http://127.0.0.1:{relay.port}")
    assert fault.cause is Cause.NETWORK
    assert str(fault).endswith(words)


def test_closed_without_an_answer() -> None:
    """What listens there may be something else."""
    with registry(lambda connection: connection.shutdown(socket.SHUT_WR)) as url:
        assert str(ask(url)).endswith("closed the connection without an answer")


def test_answer_that_is_no_http() -> None:
    """Nor does that show anything of it that moves a cursor."""
    with registry(lambda connection: connection.sendall(b"SSH\x1b[2J\r\n")) as url:
        fault = ask(url)
    assert str(fault).endswith("answers with something other than HTTP")
    assert str(fault).isprintable()


def test_tls_of_an_unknown_authority(tmp_path: Path) -> None:
    """The issuer is named, and how clients are told to trust it."""
    ours = Authority("Ours")
    with server(ours.server_context(tmp_path)) as host:
        fault = ask(f"https://{host}")
        assert fault.cause is Cause.TLS
        assert (
            f"the certificate of the registry {host} is signed by CN=Ours, which"
            in (str(fault))
        )
        assert f"registry-proxy trust {host}" in fault.advice
        trust = Trust(Path(ours.write_file(tmp_path / "ca.pem")))
        with Connection(trust) as one:
            assert one.ask(Role.REGISTRY, f"https://{host}/v2/").status == 200
        with Connection(Trust(is_insecure=True)) as one:
            assert one.ask(Role.REGISTRY, f"https://{host}/v2/").status == 200


def test_tls_that_ended(tmp_path: Path) -> None:
    """The day is told, and what this machine's clock says."""
    ours = Authority("Ours", lasts=-dt.timedelta(hours=1))
    trust = Trust(Path(ours.write_file(tmp_path / "ca.pem")))
    with server(ours.server_context(tmp_path)) as host:
        fault = ask(f"https://{host}", trust)
    assert fault.cause is Cause.TLS
    assert f"of the registry {host} expired on 20" in str(fault)
    assert "this machine's clock says 20" in str(fault)


def test_tls_of_another_name(tmp_path: Path) -> None:
    """The names that it is for are told."""
    ours = Authority("Ours")
    trust = Trust(Path(ours.write_file(tmp_path / "ca.pem")))
    file = ours.server_file(tmp_path, "other.example", "192.0.2.1")
    with server(tls_context(file)) as host:
        fault = ask(f"https://{host}", trust)
    assert str(fault).endswith("is for other.example, 192.0.2.1, and not for 127.0.0.1")


def test_plain_http_where_tls_is_spoken(tmp_path: Path) -> None:
    """Nobody answers then, but a handshake shows what is there."""
    with server(Authority("Ours").server_context(tmp_path)) as host:
        fault = ask(f"http://{host}")
    assert str(fault) == f"{host} speaks TLS, but was addressed in plain HTTP"
    assert f"https://{host}/" in fault.advice


def test_tls_where_plain_http_is_spoken() -> None:
    """It never falls back to plain HTTP by itself."""
    with server() as host:
        fault = ask(f"https://{host}")
    assert str(fault) == f"{host} speaks plain HTTP, but was addressed with TLS"
    assert "--plain-http" in fault.advice


def test_file_of_authorities_that_is_none(tmp_path: Path) -> None:
    """It is named, before anybody is asked."""
    path = tmp_path / "ca.pem"
    fault = ask("https://127.0.0.1:1", Trust(path))
    assert str(fault).startswith(f"{path} has no certificates of an authority")
    path.write_text("nonsense")
    assert ask("https://127.0.0.1:1", Trust(path)).cause is Cause.TLS


def test_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used for all but loopback, and named without its login."""
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    fault = ask("http://r.example")
    assert fault.cause is Cause.NETWORK
    assert str(fault).startswith(
        "r.example:80 cannot be reached, through the proxy 127.0.0.1:1:"
    )
    assert "secret" not in str(fault)
    with server() as host, Connection(USUAL) as one:
        assert one.ask(Role.REGISTRY, f"http://{host}/v2/").status == 200
    with server() as host:
        monkeypatch.setenv("HTTP_PROXY", f"http://{host}")
        with Connection(USUAL) as one:
            answer = one.ask(Role.REGISTRY, "http://r.example/v2/")
            assert answer.status == 200
            assert str(answer.place) == (
                f"the registry r.example, through the proxy {host}"
            )


def test_login_goes_to_no_other_host() -> None:
    """A redirect to the storage takes no login along."""
    with Server() as first, Server() as second:
        first.application = lambda r: Response(
            307, (("Location", "/here" if r.path == "/v2/" else f"{second.url}/x"),)
        )
        second.application = lambda _: Response(200)
        with Connection(USUAL) as one:
            answer = one.ask(
                Role.REGISTRY, f"{first.url}/v2/", authorization="Bearer t"
            )
        assert answer.place.role is Role.STORAGE
        headers = [r.header("Authorization") for r in first.requests]
        assert headers == ["Bearer t", "Bearer t"]
        assert second.requests[0].header("Authorization") is None


def test_identity_token_goes_to_no_other_host() -> None:
    """A form with one is not posted again where it is redirected to."""
    with Server() as first, Server() as second:
        first.application = lambda _: Response(307, (("Location", f"{second.url}/x"),))
        with Connection(USUAL) as one:
            form = {"refresh_token": "secret"}
            answer = one.ask(Role.TOKEN, f"{first.url}/token", form=form)
        assert answer.status == 307
        assert not list(second.requests)


@pytest.mark.parametrize(
    "header",
    [
        ("Location", "http://["),
        ("Location", "//[x]/"),
        ("Location", "http://u:p@127.0.0.1/"),
        ("Date", "Mon, 01 Jan 99999999999999 00:00:00 GMT"),
    ],
)
def test_senseless_head_is_a_fault_at_most(header: tuple[str, str]) -> None:
    """Whatever a server writes into it, there is a sentence and no traceback."""
    with Server() as server:
        server.application = lambda _: Response(302, (header,))
        with Connection(USUAL) as one, suppress(Fault):
            answer = one.ask(Role.REGISTRY, f"{server.url}/v2/")
            assert answer.clock is None


def test_body_of_a_redirect_is_not_read() -> None:
    """It is nothing that anybody wants, and may unpack to any size."""
    body = gzip.compress(bytes(200 << 20), 1)
    encoded = (("Location", "/there"), ("Content-Encoding", "gzip"))
    with Server() as server:
        server.application = lambda r: (
            Response(200) if r.path == "/there" else Response(302, encoded, body)
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with Connection(USUAL) as one:
            assert one.ask(Role.REGISTRY, f"{server.url}/v2/").status == 200
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 << 10  # In kilobytes.
