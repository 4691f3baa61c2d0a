"""What a client gets while a part fails, and that the next pull works."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy
from localcloud.relay import Failure, Fault
from localcloud.server import Response
from tests.client.client import Docker
from tests.integration.blob import first_layer
from tests.integration.fault import (
    ALIAS,
    IN_BLOB,
    IN_MANIFEST,
    MANIFEST,
    OPTIONS,
    Parts,
    in_time,
    parts,
    with_token,
)
from tests.integration.raw import BYE, HOST, send
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.tool import ToolError

SHOWN = {
    "down": "received unexpected HTTP status: 503 the ",
    "429": "toomanyrequests: the",
}
"""What docker says of some of these faults of the API."""
UNREACHABLE = "received unexpected HTTP status: 502 the registry behind this proxy "
HUGE = b"[" + b" " * (5 << 20) + b"]"

type Inject = Callable[[Parts], object]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """All parts, with cables between them."""
    with parts(tmp_path_factory.mktemp("fault")) as made:
        yield made


@pytest.fixture
def whole(running: Parts) -> Iterator[Parts]:
    """The parts, which are whole again after the test."""
    yield running
    running.mend()


def api_cable(failure: Failure, mark: bytes = b"", length: int = 0) -> Inject:
    """Return what makes the cable to the API fail."""
    return lambda whole: whole.api.fail(Fault(failure, mark, length))


def registry_cable(failure: Failure, mark: bytes = b"", length: int = 0) -> Inject:
    """Return what makes the cable to the registry fail."""
    return lambda whole: whole.registry.fail(Fault(failure, mark, length))


def api_answer(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Inject:
    """Return what makes the API answer with that."""
    return lambda whole: whole.interpose(lambda _: Response(status, headers, body))


API_FAULTS: dict[str, tuple[Inject, int]] = {
    "down": (lambda whole: whole.api.refuse(), 503),
    "hanging": (api_cable(Failure.HANG), 503),
    "slow": (api_cable(Failure.TRICKLE), 503),
    "resetting": (api_cable(Failure.RESET), 503),
    "cut in the head": (api_cable(Failure.CUT, b"\r\n"), 503),
    "truncated": (api_cable(Failure.CUT, b"\r\n\r\n", 10), 503),
    "stalling": (api_cable(Failure.STALL, b"\r\n\r\n", 10), 503),
    "500": (api_answer(500), 503),
    "429": (api_answer(429, b"", ("Retry-After", "7")), 429),
    "not JSON": (api_answer(200, b"<html>"), 503),
    "301": (api_answer(301, b"", ("Location", "http://evil.example/")), 503),
    "wrong shape": (api_answer(200, b'{"d":[{}]}'), 503),
    "nested": (api_answer(200, b"[" * 100_000), 503),
    "huge": (api_answer(200, HUGE), 503),
}
REGISTRY_FAULTS: dict[str, Inject] = {
    "down": lambda whole: whole.registry.refuse(),
    "hanging": registry_cable(Failure.HANG),
    "slow": registry_cable(Failure.TRICKLE),
    "resetting": registry_cable(Failure.RESET),
    "cut in the head": registry_cable(Failure.CUT, b"Content-Type"),
    "cut in the manifest": registry_cable(Failure.CUT, IN_MANIFEST),
    "stalling in the manifest": registry_cable(Failure.STALL, IN_MANIFEST),
}


def ask(url: str, token: str | None = None, method: str = "GET") -> requests.Response:
    """Return the answer to a request on a connection of its own."""
    with in_time(), plain_session() as session:
        session.headers["Accept"] = MANIFEST
        if token is not None:
            session.headers["Authorization"] = f"Bearer {token}"
        return session.request(method, url, timeout=TIMEOUT)


def pulls(whole: Parts) -> bool:
    """Return whether a token and a manifest are had."""
    token = get_token(whole.url, ALIAS)
    return ask(f"{whole.url}/v2/{ALIAS}/manifests/latest", token).ok


@pytest.mark.parametrize("fault", API_FAULTS)
def test_api_that_fails(
    whole: Parts, request: pytest.FixtureRequest, fault: str
) -> None:
    """A token request gets 503, or 429, in time; no pull is turned into a 404."""
    inject, status = API_FAULTS[fault]
    inject(whole)
    answer = ask(f"{whole.url}/auth/v1/token?scope=repository:{ALIAS}:pull")
    assert answer.status_code == status
    assert int(answer.headers["Retry-After"]) > 0
    (error,) = answer.json()["errors"]
    assert error["code"] == ("TOOMANYREQUESTS" if status == 429 else "UNAVAILABLE")
    assert str(whole.api.port) not in answer.text
    if fault in SHOWN:
        with pytest.raises(ToolError, match=re.escape(SHOWN[fault])):
            request.getfixturevalue("docker").pull(whole.reference)
    whole.mend()
    assert pulls(whole)


@pytest.mark.parametrize("fault", REGISTRY_FAULTS)
def test_registry_that_fails(whole: Parts, fault: str) -> None:
    """A manifest request gets 502 in time, with an OCI body without an address (T6)."""
    token = get_token(whole.url, ALIAS)
    REGISTRY_FAULTS[fault](whole)
    answer = ask(f"{whole.url}/v2/{ALIAS}/manifests/latest", token)
    assert answer.status_code == 502
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
    assert str(whole.registry.port) not in answer.text
    assert "127.0.0.1" not in answer.text
    whole.mend()
    assert pulls(whole)


def test_docker_pulls_again(whole: Parts, docker: Docker) -> None:
    """It shows that the registry failed, and pulls once that is over."""
    whole.registry.refuse()
    with pytest.raises(ToolError, match=re.escape(UNREACHABLE)):
        docker.pull(whole.reference)
    whole.mend()
    assert docker.pull(whole.reference) == whole.digest


def test_page_for_head_has_no_body(whole: Parts) -> None:
    """An answer to HEAD ends with its head, also where mitmproxy makes it."""
    whole.registry.refuse()
    head = f"HEAD /v2/{ALIAS}/manifests/latest HTTP/1.1\r\n".encode()
    answer = send(whole.proxy, head + HOST + BYE)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("failure", [Failure.CUT, Failure.STALL])
def test_blob_that_breaks_off(whole: Parts, docker: Docker, failure: Failure) -> None:
    """The client sees a broken transfer, never a clean end; docker then resumes it."""
    token = get_token(whole.url, ALIAS)
    with with_token(whole) as session:
        digest, size = first_layer(session, whole.url, ALIAS)
    whole.registry.fail(Fault(failure, IN_BLOB, 300_000))
    with pytest.raises(requests.RequestException) as broken:
        ask(f"{whole.url}/v2/{ALIAS}/blobs/{digest}", token)
    assert re.search(r"IncompleteRead\((\d+) bytes read", str(broken.value))
    whole.mend()
    whole.registry.fail(Fault(failure, IN_BLOB, 300_000, is_once=True))
    assert docker.pull(whole.reference) == whole.digest
    assert size > 300_000


def test_idle_connections_are_closed_under_the_proxy(whole: Parts) -> None:
    """A connection that its other end closed meanwhile breaks nothing."""
    with with_token(whole) as session:
        url = f"{whole.url}/v2/{ALIAS}/manifests/latest"
        accepted = whole.registry.accepted
        for _ in range(3):
            assert session.get(url, timeout=TIMEOUT).status_code == 200
            whole.registry.drop()
            whole.api.drop()
            get_token(whole.url, ALIAS)
        assert whole.registry.accepted - accepted == 3


def test_connection_to_the_registry_is_kept(whole: Parts) -> None:
    """Requests of one client connection share one to the registry."""
    with with_token(whole) as session:
        url = f"{whole.url}/v2/{ALIAS}/manifests/latest"
        accepted = whole.registry.accepted
        for _ in range(3):
            assert session.get(url, timeout=TIMEOUT).status_code == 200
        assert whole.registry.accepted - accepted == 1


def test_names_that_cannot_be_looked_up(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without names neither registry nor API is found; with them all works again."""
    broken = tmp_path / "no names"
    monkeypatch.setenv("NO_NAMES", str(broken))
    script = Path(__file__).with_name("no_names.py")
    options = ("-s", str(script), *OPTIONS)
    with parts(tmp_path, options=options) as whole:
        token = get_token(whole.url, ALIAS)
        whole.registry.drop()
        whole.api.drop()
        broken.touch()
        pulled = ask(f"{whole.url}/v2/{ALIAS}/manifests/latest", token)
        asked = ask(f"{whole.url}/auth/v1/token?scope=repository:{ALIAS}:pull")
        assert (pulled.status_code, asked.status_code) == (502, 503)
        with pytest.raises(ToolError, match=re.escape(UNREACHABLE)):
            docker.pull(whole.reference)
        assert "name resolution" in whole.proxy.log
        broken.unlink()
        assert docker.pull(whole.reference) == whole.digest


@pytest.mark.parametrize("part", ["registry", "api"])
def test_readiness_tells_what_is_missing(whole: Parts, part: str) -> None:
    """Where a part is down the proxy is alive and not ready; a pull mends that."""
    relay = whole.registry if part == "registry" else whole.api
    environment = {"API_URL": f"http://127.0.0.1:{whole.api.port}"}
    url = f"http://localhost:{whole.registry.port}"
    relay.refuse()
    with Proxy(url, environment=environment, arguments=OPTIONS) as proxy:
        refused = ask(f"http://{proxy.host}/ready")
        assert refused.status_code == 503
        assert refused.json()[part] == {"reachable": False, "last_seen": None}
        assert str(relay.port) not in refused.text
        assert ask(f"http://{proxy.host}/ping").text == "pong"
        whole.mend()
        token = get_token(f"http://{proxy.host}", ALIAS)
        ask(f"http://{proxy.host}/v2/{ALIAS}/manifests/latest", token)
        ready = ask(f"http://{proxy.host}/ready")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        head = ask(f"http://{proxy.host}/ready", method="HEAD")
        assert (head.status_code, head.content) == (200, b"")
