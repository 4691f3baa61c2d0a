"""What a client gets while a part fails, and that the next pull works."""

import re
from collections.abc import Iterator

import pytest
import requests

from demo.proxy import Proxy
from localcloud.relay import Failure, Fault
from localcloud.server import Response
from tests.client.client import Docker
from tests.deaf import deaf
from tests.integration.blob import first_layer
from tests.integration.fault import (
    ALIAS,
    IN_BLOB,
    IN_MANIFEST,
    OPTIONS,
    Parts,
    in_time,
    parts,
    with_token,
)
from tests.integration.raw import BYE, HOST, send
from tests.integration.scripted import MANIFEST_PATH, ask, get
from tests.integration.session import TIMEOUT, get_token
from tests.integration.tool import ToolError, wait_until

UNREACHABLE = "received unexpected HTTP status: 502 the registry behind this proxy "


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


def pulls(whole: Parts) -> bool:
    """Return whether a token and a manifest are had."""
    token = get_token(whole.url, ALIAS)
    return ask(f"{whole.url}/v2/{ALIAS}/manifests/latest", token).ok


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Failure.HANG),
        Fault(Failure.RESET),
        Response(301, (("Location", "http://evil.example/"),), b""),
        Response(200, (), b"[" * 100_000),
    ],
    ids=["hanging", "resetting", "301", "nested"],
)
def test_api_that_fails(whole: Parts, fault: Fault | Response) -> None:
    """A token request gets 503 in time; no pull is turned into a 404."""
    if isinstance(fault, Fault):
        whole.api.fail(fault)
    else:
        whole.interpose(lambda _: fault)
    answer = ask(f"{whole.url}/auth/v1/token?scope=repository:{ALIAS}:pull")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert str(whole.api.port) not in answer.text
    name = f" [{answer.headers['X-Request-Id'][:8]}]"
    (line,) = [line for line in whole.proxy.log.splitlines() if line.endswith(name)]
    assert f"the API 127.0.0.1:{whole.api.port}" in line
    whole.mend()
    assert pulls(whole)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Failure.HANG),
        Fault(Failure.TRICKLE),
        Fault(Failure.RESET),
        Fault(Failure.CUT, b"Content-Type"),
        Fault(Failure.CUT, IN_MANIFEST),
        Fault(Failure.STALL, IN_MANIFEST),
    ],
    ids=["hanging", "slow", "resetting", "cut in the head", "cut", "stalling"],
)
def test_registry_that_fails(whole: Parts, fault: Fault) -> None:
    """A manifest request gets 502 in time, with an OCI body without an address (T6)."""
    token = get_token(whole.url, ALIAS)
    whole.registry.fail(fault)
    answer = ask(f"{whole.url}/v2/{ALIAS}/manifests/latest", token)
    assert answer.status_code == 502
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
    assert str(whole.registry.port) not in answer.text
    name = f" [{answer.headers['X-Request-Id'][:8]}]"
    assert answer.json()["errors"][0]["message"].endswith(name)
    assert answer.reason.endswith(name)
    lines = [line for line in whole.proxy.log.splitlines() if line.endswith(name)]
    assert len(lines) == 1
    assert f"the registry localhost:{whole.registry.port}" in lines[0]
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
        digest, _ = first_layer(session, whole.url, ALIAS)
    whole.registry.fail(Fault(failure, IN_BLOB, 300_000))
    with pytest.raises(requests.RequestException, match="IncompleteRead"):
        ask(f"{whole.url}/v2/{ALIAS}/blobs/{digest}", token)
    whole.mend()
    whole.registry.fail(Fault(failure, IN_BLOB, 300_000, is_once=True))
    assert docker.pull(whole.reference) == whole.digest


@pytest.mark.parametrize(("drops", "connections"), [(True, 3), (False, 1)])
def test_connection_to_the_registry_is_kept(
    whole: Parts, connections: int, *, drops: bool
) -> None:
    """A client's requests share one, and one that was closed meanwhile breaks none."""
    with with_token(whole) as session:
        url = f"{whole.url}/v2/{ALIAS}/manifests/latest"
        accepted = whole.registry.accepted
        for _ in range(3):
            assert session.get(url, timeout=TIMEOUT).status_code == 200
            if drops:
                whole.registry.drop()
                whole.api.drop()
                get_token(whole.url, ALIAS)
        assert whole.registry.accepted - accepted == connections


def test_connection_that_does_not_come_about() -> None:
    """A registry that takes no connection is given up like one that says nothing."""
    with (
        deaf() as port,
        Proxy(f"http://127.0.0.1:{port}", arguments=OPTIONS) as proxy,
    ):
        with in_time():
            pulled = get(proxy, MANIFEST_PATH)
        with in_time():
            asked = get(proxy, "/auth/v1/token")
        assert (pulled.status_code, asked.status_code) == (502, 503)
        assert f":{port} takes no connection within 2 seconds" in proxy.log


def test_the_api_is_connected_to_while_the_registry_is_asked(whole: Parts) -> None:
    """Who has no token finds a connection to the API there when they ask for one."""
    whole.api.drop()
    accepted, asked = whole.api.accepted, len(whole.installation.cloud.requests)

    def is_connected() -> bool:
        assert get(whole.proxy, "/v2/").status_code == 401
        return whole.api.accepted > accepted

    wait_until(is_connected, "the API is connected to")
    assert len(whole.installation.cloud.requests) == asked
    get_token(whole.url, ALIAS)
    assert whole.api.accepted == accepted + 1
