"""What a client gets while the storage behind the registry fails."""

from collections.abc import Iterator

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.relay import Failure, Fault, Relay
from localcloud.server import Request, Response, Server
from tests.client.client import Docker
from tests.integration.blob import ALIAS, LOCATION, blob_of, following
from tests.integration.fault import TIMEOUT_SECONDS, in_time
from tests.integration.registry import Installation, installed
from tests.integration.storage import storing

BEHIND_THE_HEAD = b"Accept-Ranges: bytes\r\n\r\n"
"""What stands in an answer of nginx before the blob."""
IMPATIENT = ("--set", f"balena_registry_timeout={TIMEOUT_SECONDS}")


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Installation, Relay, Proxy]]:
    """A registry whose storage is behind a cable that can be cut, and a proxy."""
    folder = tmp_path_factory.mktemp("broken")
    with (
        storing(folder) as nginx,
        Relay(nginx.port) as cable,
        installed(folder, redirect_to=f"http://localhost:{cable.port}") as installation,
        following(installation.url, *IMPATIENT) as proxy,
    ):
        yield installation, cable, proxy
        cable.mend()


@pytest.mark.parametrize("failure", [Failure.CUT, Failure.STALL])
def test_blob_that_breaks_off(
    broken: tuple[Installation, Relay, Proxy], failure: Failure
) -> None:
    """The client sees a broken transfer, never a clean end, and the log says whose."""
    _, cable, proxy = broken
    with blob_of(proxy) as blob:
        for _ in range(3):
            assert blob.is_whole(blob.ask())
        cable.fail(Fault(failure, BEHIND_THE_HEAD, 300_000))
        with (
            in_time(),
            pytest.raises(requests.RequestException, match="IncompleteRead"),
        ):
            blob.ask()
        cable.mend()
        assert blob.is_whole(blob.ask())
    assert "not answered by the storage" in proxy.log
    if failure is Failure.STALL:
        assert f"the storage did not answer within {TIMEOUT_SECONDS} s" in proxy.log


def test_docker_resumes_a_blob_that_broke_off(
    broken: tuple[Installation, Relay, Proxy], docker: Docker
) -> None:
    """It asks for the rest, gets that from the storage, and has the image."""
    installation, cable, proxy = broken
    cable.fail(Fault(Failure.CUT, BEHIND_THE_HEAD, 300_000, is_once=True))
    assert docker.pull(f"{proxy.host}/{ALIAS}") == installation.digest(LOCATION)
    assert ": 206, " in proxy.log


@pytest.mark.parametrize("failure", [None, Failure.HANG, Failure.RESET])
def test_storage_that_does_not_answer(
    broken: tuple[Installation, Relay, Proxy], failure: Failure | None
) -> None:
    """The client gets an OCI error in time that names no address, and then the blob."""
    _, cable, proxy = broken
    with blob_of(proxy) as blob:
        for _ in range(3):
            blob.ask()
        if failure:
            cable.fail(Fault(failure))
        else:
            cable.refuse()
        with in_time():
            answer = blob.ask()
        assert answer.status_code == 502
        assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
        assert "the storage of the registry does not answer" in answer.text
        assert str(cable.port) not in answer.text
        cable.mend()
    with blob_of(proxy) as blob:
        assert blob.is_whole(blob.ask())


@pytest.fixture(scope="module")
def running() -> Iterator[LocalCloud]:
    """A registry whose redirects are signed, and the storage that checks them."""
    with LocalCloud(redirect_blobs=True) as cloud:
        yield cloud


@pytest.fixture
def signing(running: LocalCloud) -> Iterator[LocalCloud]:
    """The same, which works again after the test."""
    yield running
    for server in servers(running):
        server.interpose = None


@pytest.fixture(scope="module")
def front(running: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of it."""
    with following(running.registry_url) as proxy:
        yield proxy


STORAGE_ANSWER = (
    ("Set-Cookie", "a=b"),
    ("Location", "http://other.example/"),
    ("WWW-Authenticate", "Basic realm=storage"),
    ("X-Amz-Request-Id", "storage-7"),
    ("Retry-After", "7"),
)


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (400, 502, "UNAVAILABLE"),
        (401, 502, "UNAVAILABLE"),
        (403, 502, "UNAVAILABLE"),
        (404, 502, "UNAVAILABLE"),
        (412, 412, "UNSUPPORTED"),
        (429, 429, "TOOMANYREQUESTS"),
        (500, 500, "UNAVAILABLE"),
        (503, 503, "UNAVAILABLE"),
    ],
)
def test_error_of_the_storage(
    signing: LocalCloud,
    front: Proxy,
    status: int,
    expected: int,
    code: str,
) -> None:
    """It is never turned into what it is not, and is told in our own words (T6)."""
    _, storage = servers(signing)
    body = b"<Error><HostId>storage-7</HostId></Error>"
    storage.interpose = lambda _: Response(status, STORAGE_ANSWER, body)
    with blob_of(front) as blob:
        answer, head = blob.ask(), blob.ask("HEAD")
        storage.interpose = None
        assert blob.is_whole(blob.ask())
    for told in (answer, head):
        assert told.status_code == expected
        assert "storage-7" not in told.text + str(told.headers)
        assert told.headers["Retry-After"] == "7"
        hidden = {"Set-Cookie", "Location", "WWW-Authenticate", "X-Amz-Request-Id"}
        assert not hidden & set(told.headers)
    assert answer.json()["errors"][0]["code"] == code
    assert head.content == b""
    if expected == 502:
        assert f"the storage 127.0.0.1 answers with status {status}" in front.log


def test_registry_that_begins_to_redirect(signing: LocalCloud) -> None:
    """Its first redirect does not reach the client, and the next one is followed."""
    registry, storage = servers(signing)
    with following(signing.registry_url) as proxy, blob_of(proxy) as blob:
        registry.interpose = lambda request: (
            Response(200, (), b"x") if "/blobs/" in request.target else None
        )
        assert [blob.ask().content for _ in range(3)] == [b"x"] * 3
        registry.interpose = None
        surprised = blob.ask()
        assert (surprised.status_code, surprised.headers["Retry-After"]) == (503, "1")
        assert "Location" not in surprised.headers
        assert storage.host not in surprised.text
        assert blob.is_whole(blob.ask())


def test_storage_that_begins_to_redirect(signing: LocalCloud) -> None:
    """So it is with a storage that sends the blob on to another one."""
    registry, storage = servers(signing)
    with following(signing.registry_url) as proxy, blob_of(proxy) as blob:
        for _ in range(3):
            assert blob.is_whole(blob.ask())

        def move(request: Request) -> Response | None:
            if "moved" in request.target:
                return None
            target = request.target.replace("?", "?moved=yes&")
            return Response(302, (("Location", f"{storage.url}{target}"),))

        storage.interpose = move
        surprised = blob.ask()
        assert (surprised.status_code, surprised.headers["Retry-After"]) == (503, "1")
        assert "Location" not in surprised.headers
        assert blob.is_whole(blob.ask())
    assert registry.host != storage.host


def servers(cloud: LocalCloud) -> tuple[Server, Server]:
    """Return the registry and the storage of a cloud that has both."""
    assert cloud.registry is not None
    assert cloud.storage is not None
    return cloud.registry, cloud.storage
