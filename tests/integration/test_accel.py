"""Blobs that nginx fetches, keeps and sends: real nginx as it is deployed (rule C7)."""

import hashlib
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from localcloud import LocalCloud
from localcloud.relay import Failure, Fault, Relay
from localcloud.server import Request, Response, Server
from registry_proxy.port import free_port
from tests.authority import Authority
from tests.client.client import Skopeo
from tests.integration.accel import LOUD, SYSTEM_AUTHORITIES, Front, caching
from tests.integration.blob import blob_requests, first_layer
from tests.integration.fault import ALIAS, LOCATION
from tests.integration.registry import installed
from tests.integration.scripted import registry as scripted
from tests.integration.session import TIMEOUT, logged_in, plain_session
from tests.integration.storage import (
    ADDRESS,
    NAME,
    SCRIPT,
    known_to_the_proxy,
    storing,
)
from tests.integration.tool import wait_until

SMALL_SLICES = {"slice 16m;": "slice 256k;"}
CROWD = 20
PRIVATE = "balenablocks/private-block/1.0.0"


@dataclass
class Blob:
    """A blob behind nginx, and a client that may have it."""

    front: Front
    session: requests.Session
    digest: str
    size: int
    name: str = ALIAS

    @property
    def url(self) -> str:
        """Where clients ask for it."""
        return f"{self.front.url}/v2/{self.name}/blobs/{self.digest}"

    def ask(self, method: str = "GET", **headers: str) -> requests.Response:
        """Return the answer to a request for it."""
        return self.session.request(
            method,
            self.url,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            allow_redirects=False,
            timeout=TIMEOUT,
        )

    def is_whole(self, answer: requests.Response) -> bool:
        """Return whether it has come, byte by byte."""
        sha256 = hashlib.sha256(answer.content).hexdigest()
        return answer.status_code == 200 and f"sha256:{sha256}" == self.digest


@contextmanager
def blob_of(front: Front) -> Iterator[Blob]:
    """Return the largest blob of an image, whose manifest the client was served."""
    with logged_in(front.url, ALIAS) as session:
        yield Blob(front, session, *first_layer(session, front.url, ALIAS))


@pytest.fixture(scope="module", params=["redirecting", "streaming"])
def cloud(request: pytest.FixtureRequest) -> Iterator[LocalCloud]:
    """A registry that redirects with signed URLs, and one that sends by itself."""
    with LocalCloud(redirect_blobs=request.param == "redirecting") as running:
        yield running


@pytest.fixture
def source(cloud: LocalCloud) -> Iterator[Server]:
    """The server that has the bytes, which is whole again after the test."""
    assert cloud.registry
    server = cloud.storage or cloud.registry
    yield server
    server.interpose = None


@pytest.fixture
def front(cloud: LocalCloud, tmp_path: Path) -> Iterator[Front]:
    """An nginx with an empty cache, and the proxy that it asks."""
    with caching(cloud.registry_url, tmp_path / "front", *LOUD) as running:
        yield running


def bytes_asked(server: Server) -> list[str | None]:
    """Return the ranges that a server was asked for, beside single bytes."""
    ranges = [r.header("Range") for r in server.requests if is_blob(r)]
    return [each for each in ranges if each != "bytes=0-0"]


def is_blob(request: Request) -> bool:
    """Return whether a request is for the bytes of a blob."""
    return request.method == "GET" and "/blobs/" in request.target


def on_blobs(response: Response) -> Callable[[Request], Response | None]:
    """Answer so to whoever wants the bytes of a blob, and not where it is."""

    def answer(request: Request) -> Response | None:
        is_search = request.header("Range") == "bytes=0-0"
        return response if is_blob(request) and not is_search else None

    return answer


def test_pull_warm_without_the_storage(skopeo: Skopeo, tmp_path: Path) -> None:
    """Of a real registry's: the storage may be away, and nobody is asked for a blob."""
    with ExitStack() as stack:
        away = stack.enter_context(ExitStack())
        storage = away.enter_context(storing(tmp_path))
        url = f"http://localhost:{storage.port}"
        real = stack.enter_context(installed(tmp_path, redirect_to=url))
        front = stack.enter_context(caching(real.url, tmp_path / "front"))
        digest = real.digest(LOCATION)
        assert skopeo.pull(f"{front.host}/{ALIAS}") == digest
        cold = front.fetches
        assert len(cold) >= 4
        away.close()
        shutil.rmtree(skopeo.folder / "copy")
        assert skopeo.pull(f"{front.host}/{ALIAS}") == digest
        assert front.fetches == cold
        assert "left to nginx" in front.proxy.log
        assert " from the storage" not in front.proxy.log


def test_pull_from_a_registry_that_speaks_tls(skopeo: Skopeo, tmp_path: Path) -> None:
    """It is verified by its name, though nginx connects to an address."""
    authority = Authority("private authority")
    own = authority.server_file(tmp_path, "localhost")
    trusted = authority.write_file(tmp_path / "authority.pem")
    trusting = ("--set", f"ssl_verify_upstream_trusted_ca={trusted}")
    with installed(tmp_path, tls=own) as real:
        for name, changes in (
            ("knows", {SYSTEM_AUTHORITIES: str(trusted)}),
            ("doubts", {}),
        ):
            with caching(
                real.url,
                tmp_path / name,
                *trusting,
                changes=changes,
                API_URL=real.cloud.api_url,
            ) as front:
                if changes:
                    pulled = skopeo.pull(f"{front.host}/{ALIAS}")
                    assert pulled == real.digest(LOCATION)
                    assert front.fetches
                    continue
                with blob_of(front) as blob:
                    answer = blob.ask()
                assert answer.status_code == 502
                assert "does not answer" in answer.json()["errors"][0]["message"]
                assert not front.kept()


def test_crowd_causes_one_fetch(front: Front, source: Server) -> None:
    """Twenty clients at once get what was fetched once; cold, and then warm."""
    before = len(bytes_asked(source))
    with blob_of(front) as blob, ThreadPoolExecutor(CROWD) as pool:
        for _ in range(2):
            answers = list(pool.map(lambda _: blob.ask(), range(CROWD)))
            assert all(map(blob.is_whole, answers))
    assert len(bytes_asked(source)) == before + 1


def test_who_has_a_manifest_is_asked_for_no_more(
    front: Front, cloud: LocalCloud
) -> None:
    """With it, a client gets what is kept while the registry is asked for nothing."""
    assert cloud.registry
    with blob_of(front) as first:
        first.ask()
    with blob_of(front) as blob:
        before = blob_requests(cloud.registry)
        assert blob.is_whole(blob.ask())
        assert blob_requests(cloud.registry) == before
    with logged_in(front.url, ALIAS) as session:
        blob = Blob(front, session, blob.digest, blob.size)
        token = str(session.headers["Authorization"]).partition("~")[0]
        # A login that was served nothing, for the same place.
        session.headers["Authorization"] = f"{token}x"
        blob.name = f"v2/{LOCATION}"
        assert blob.ask().status_code == 401


def test_slices_are_one_blob(cloud: LocalCloud, tmp_path: Path) -> None:
    """Ranges begin and end wherever, and only slices that are wanted are fetched."""
    with (
        caching(cloud.registry_url, tmp_path / "front", changes=SMALL_SLICES) as front,
        blob_of(front) as blob,
    ):
        part = blob.ask(Range="bytes=300000-300009")
        assert len(front.kept()) == 1
        answer = blob.ask()
        assert blob.is_whole(answer)
        assert part.content == answer.content[300_000:300_010]
        assert len(front.kept()) == -(-blob.size // (256 << 10))
        for first, last in ((0, 0), (262_143, 262_144), (1000, blob.size - 1)):
            part = blob.ask(Range=f"bytes={first}-{last}")
            assert part.status_code == 206
            assert part.headers["Content-Range"] == f"bytes {first}-{last}/{blob.size}"
            assert part.content == answer.content[first : last + 1]
        assert blob.ask(Range="bytes=-7").content == answer.content[-7:]


def test_whole_blob_is_no_slice(cloud: LocalCloud, tmp_path: Path) -> None:
    """Who asks for the end gets it, also where all comes, and breaks no other pull."""
    assert cloud.registry
    with (
        caching(cloud.registry_url, tmp_path / "front", changes=SMALL_SLICES) as front,
        blob_of(front) as blob,
    ):
        # Asked where the blob is the registry fails once, and then sends all of it.
        failures = iter([Response(503)])
        cloud.registry.interpose = lambda request: (
            next(failures, None) if is_blob(request) else None
        )
        try:
            part = blob.ask(Range="bytes=300000-300009")
        finally:
            cloud.registry.interpose = None
        assert next(failures, None) is None
        answer = blob.ask()
        assert blob.is_whole(answer)
        assert part.content == answer.content[300_000:300_010]


def test_later_slice_that_breaks_off_is_not_kept(tmp_path: Path) -> None:
    """Without its length nobody can see it, though the first slice had its own."""
    size, searches = 256 << 10, []
    with (
        LocalCloud(redirect_blobs=False) as cloud,
        caching(cloud.registry_url, tmp_path / "front", changes=SMALL_SLICES) as front,
        blob_of(front) as blob,
        scripted(lambda connection: _send_all(connection, part)) as storage,
    ):
        assert cloud.registry
        parts = f"Content-Range: bytes {size}-{2 * size - 1}/{blob.size}"
        part = f"HTTP/1.1 206 OK\r\n{parts}\r\n\r\n".encode() + bytes(1000)

        def lead_away(request: Request) -> Response | None:
            if is_blob(request) and request.header("Range") == "bytes=0-0":
                searches.append(request)
                if len(searches) == 2:
                    return Response(307, (("Location", f"{storage}/x"),))
            return None

        cloud.registry.interpose = lead_away
        with blob.session.get(blob.url, stream=True, timeout=TIMEOUT) as answer:
            assert len(answer.raw.read(size + 1000)) == size + 1000
        assert len(searches) >= 2
        assert blob.is_whole(blob.ask())


def _send_all(connection: socket.socket, answer: bytes) -> None:
    """Send an answer that ends with its connection."""
    connection.sendall(answer)
    connection.shutdown(socket.SHUT_RDWR)


def test_blob_without_a_byte(front: Front, cloud: LocalCloud, source: Server) -> None:
    """No range has anything of it, and it is served all the same."""
    assert cloud.registry
    nothing = hashlib.sha256().hexdigest()

    def serve(request: Request) -> Response | None:
        if nothing not in request.target:
            return None
        return Response(416 if request.header("Range") else 200)

    redirect = Response(307, (("Location", f"{source.url}/blobs/{nothing}"),))
    is_elsewhere = source is not cloud.registry
    cloud.registry.interpose = lambda request: (
        redirect if is_elsewhere and nothing in request.target else serve(request)
    )
    source.interpose = serve if is_elsewhere else cloud.registry.interpose
    try:
        with blob_of(front) as blob:
            blob.digest = f"sha256:{nothing}"
            assert blob.is_whole(blob.ask())
    finally:
        cloud.registry.interpose = None


@pytest.mark.parametrize("is_warm", [False, True])
def test_head_is_the_registrys(front: Front, *, is_warm: bool) -> None:
    """Length, digest and conditions are as without nginx, cold and warm (C4)."""
    with blob_of(front) as blob:
        if is_warm:
            blob.ask()
        for beyond in (blob.size, blob.size + (20 << 20)):
            answer = blob.ask(Range=f"bytes={beyond}-")
            assert answer.status_code == 416
            assert answer.headers["Content-Range"] == f"bytes */{blob.size}"
            assert answer.json()["errors"][0]["code"] == "UNSUPPORTED"
        answer = blob.ask()
        assert blob.is_whole(answer)
        assert answer.headers["Content-Length"] == str(blob.size)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Docker-Content-Digest"] == blob.digest
        assert answer.headers["Accept-Ranges"] == "bytes"
        tag = answer.headers["ETag"]
        assert blob.ask(If_None_Match=tag).status_code == 304
        assert blob.ask(If_Range=tag, Range="bytes=0-9").status_code == 206
        assert blob.ask(If_Range='"other"', Range="bytes=0-9").status_code == 200
        assert blob.ask("HEAD").headers["Content-Length"] == str(blob.size)


def test_nothing_of_the_storage_is_told(front: Front, source: Server) -> None:
    """Neither its headers nor what nginx and the proxy tell each other."""
    told = (
        *(("X-Amz-Request-Id", "inner"), ("X-Amz-Id-2", "inner")),
        *(("Set-Cookie", "a=inner"), ("Server", "inner"), ("Via", "inner")),
        *(("X-Cache", "inner"), ("X-Goog-Hash", "inner"), ("X-Ms-Version", "inner")),
    )
    whole = b"x" * 100
    source.interpose = on_blobs(Response(200, told, whole))
    with blob_of(front) as blob:
        for _ in range(2):
            answer = blob.ask()
            assert answer.content == whole
            assert "inner" not in str(answer.headers)
            assert not [n for n in answer.headers if n.startswith(("X-Blob", "X-Acc"))]


@pytest.mark.parametrize("path", ["/v2/", "/_fetch/x", "/ping", "/_blobs/{other}"])
def test_order_of_a_server_is_not_obeyed(
    front: Front, source: Server, path: str
) -> None:
    """What registry or storage say to a reverse proxy leads nowhere."""
    with blob_of(front) as blob:
        assert blob.is_whole(blob.ask())
        kept = blob.digest
        order = ("X-Accel-Redirect", path.format(other=kept))
        source.interpose = lambda request: (
            Response(200, (order,), b"its own")
            if "/blobs/" in request.target and request.header("Range") != "bytes=0-0"
            else None
        )
        manifest = blob.session.get(
            f"{front.url}/v2/{ALIAS}/manifests/latest", timeout=TIMEOUT
        ).json()
        blob.digest = manifest["config"]["digest"]
        assert blob.ask().content == b"its own"
        # Nor does the proxy pass it on with an answer that it streams itself.
        assert blob.ask("HEAD").headers["Content-Length"] == "7"


def test_body_of_a_client_goes_nowhere(front: Front, source: Server) -> None:
    """A storage that expects none with a GET might take it for another request."""
    seen = []

    def look(request: Request) -> None:
        if is_blob(request):
            seen.append((request.header("Range"), request.header("Content-Length")))

    source.interpose = look
    with blob_of(front) as blob:
        answer = blob.session.get(blob.url, data=b"GET / HTTP/1.1", timeout=TIMEOUT)
        assert blob.is_whole(answer)
    assert [length for asked, length in seen if asked != "bytes=0-0"] == [None]


def test_stranger_gets_nothing_that_is_kept(front: Front, cloud: LocalCloud) -> None:
    """A digest that is there opens nothing, whatever the client may have (T13)."""
    with logged_in(front.url, PRIVATE, key=cloud.keys["carol"]) as owner:
        digest, size = first_layer(owner, front.url, PRIVATE)
        url = f"{front.url}/v2/{PRIVATE}/blobs/{digest}"
        answer = owner.get(url, timeout=TIMEOUT)
        assert len(answer.content) == size
    elsewhere = f"{front.url}/v2/{ALIAS}/blobs/{digest}"
    with plain_session() as nobody, logged_in(front.url, ALIAS) as stranger:
        first_layer(stranger, front.url, ALIAS)
        assert nobody.get(url, timeout=TIMEOUT).status_code == 401
        assert stranger.get(url, timeout=TIMEOUT).status_code == 401
        answer = stranger.get(elsewhere, timeout=TIMEOUT)
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["code"] == "BLOB_UNKNOWN"


@pytest.mark.parametrize("task", ["find", "send", "anything"])
def test_client_sets_no_task(front: Front, task: str) -> None:
    """What a client says in nginx's place is lost, and inner paths are closed."""
    with blob_of(front) as blob:
        answer = blob.ask(X_Blob_Task=task)
        assert blob.is_whole(answer)
        assert "X-Blob-Path" not in answer.headers
        assert not blob.ask("HEAD", X_Blob_Task=task).headers.get("X-Blob-Path")
        for path in ("_blobs", "_fetch"):
            url = f"{front.url}/{path}/{blob.digest}"
            assert blob.session.get(url, timeout=TIMEOUT).status_code == 404


def test_without_nginx_the_proxy_sends_it(front: Front) -> None:
    """Who reaches the proxy itself gets the blob, and no empty answer."""
    with blob_of(front) as blob:
        url = blob.url.replace(front.host, front.proxy.host)
        assert blob.is_whole(blob.session.get(url, timeout=TIMEOUT))
    assert not front.fetches


def test_secrets_are_not_written(cloud: LocalCloud, tmp_path: Path) -> None:
    """No log, flow or file of the cache has a token or a signed URL (T7)."""
    saved = tmp_path / "flows"
    with caching(
        cloud.registry_url, tmp_path / "front", *LOUD, "-w", str(saved)
    ) as front:
        with blob_of(front) as blob:
            assert blob.is_whole(blob.ask())
            token = str(blob.session.headers["Authorization"])
            if cloud.storage:
                cloud.storage.interpose = on_blobs(Response(500))
                blob.ask(Range="bytes=20000000-")
                cloud.storage.interpose = None
        wait_until(lambda: "left to nginx to fetch" in front.log, "a line of log")
        written = front.log
        kept = b"".join(path.read_bytes()[:4096] for path in front.kept())
    flows = saved.read_bytes()
    signed = token.partition("~")[0].rpartition(".")[2]
    targets = [r.target for r in (cloud.storage.requests if cloud.storage else ())]
    signatures = {t.partition("Signature=")[2] for t in targets if "Signature=" in t}
    assert bool(signatures) == bool(cloud.storage)
    for secret in {signed, *signatures}:
        assert secret
        assert secret not in written
        assert secret.encode() not in flows
        assert secret.encode() not in kept
    assert b"X-Blob-Path" in flows


@pytest.mark.parametrize("status", [301, 400, 403, 404, 429, 500, 503])
def test_error_of_the_source(front: Front, source: Server, status: int) -> None:
    """It is told in words of ours, kept by nobody, and over when it is over."""
    headers = (("Location", "http://inner.example/"), ("X-Amz-Id-2", "inner"))
    source.interpose = on_blobs(Response(status, headers, b"<HostId>inner</HostId>"))
    with blob_of(front) as blob:
        answer = blob.ask()
        assert answer.status_code == (429 if status == 429 else 502)
        assert answer.headers["Retry-After"] == "10"
        assert "the storage of the registry" in answer.json()["errors"][0]["message"]
        assert "inner" not in answer.text + str(answer.headers)
        assert not front.kept()
        source.interpose = None
        assert blob.is_whole(blob.ask())


def test_blob_that_breaks_off_is_not_kept(tmp_path: Path) -> None:
    """The client sees a broken transfer, and the next one fetches the blob anew."""
    with (
        storing(tmp_path) as storage,
        Relay(storage.port) as cable,
        installed(tmp_path, redirect_to=f"http://{ADDRESS}:{cable.port}") as real,
        caching(real.url, tmp_path / "front", BLOBS_ALLOW=f"{ADDRESS}/32") as front,
        blob_of(front) as blob,
    ):
        cable.fail(Fault(Failure.CUT, b"\r\n\r\n", 300_000))
        with pytest.raises(requests.RequestException):
            blob.ask()
        cable.mend()
        assert not front.kept()
        assert blob.is_whole(blob.ask())


@pytest.mark.parametrize("addresses", [[ADDRESS], [ADDRESS, "127.0.0.2"]])
def test_storage_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """The client is told so in time, and no log has the URL, of whatever address."""
    known_to_the_proxy(monkeypatch, *addresses)
    with (
        storing(tmp_path) as storage,
        Relay(storage.port) as cable,
        installed(tmp_path, redirect_to=f"http://{NAME}:{cable.port}") as real,
        caching(
            real.url,
            tmp_path / "front",
            *SCRIPT,
            changes=SMALL_SLICES,
            BLOBS_ALLOW="127.0.0.0/8",
        ) as front,
        blob_of(front) as blob,
    ):
        for first in range(0, 4 << 18, 1 << 18):
            assert blob.ask(Range=f"bytes={first}-{first}").status_code == 206
        cable.refuse()
        for first in range(4 << 18, 6 << 18, 1 << 18):
            answer = blob.ask(Range=f"bytes={first}-{first}")
            assert answer.status_code in (502, 503)
            assert "does not answer" in answer.json()["errors"][0]["message"]
        assert "/docker/registry/" not in front.log
        cable.mend()
        wait_until(lambda: blob.is_whole(blob.ask()), "the whole blob")


def test_fetch_goes_on_without_its_client(front: Front, source: Server) -> None:
    """Who leaves early leaves the rest to those who come later."""
    with blob_of(front) as blob:
        with blob.session.get(blob.url, stream=True, timeout=TIMEOUT) as answer:
            answer.raw.read(1000)
        wait_until(lambda: len(front.kept()) == 1, "the whole blob")
        before = len(bytes_asked(source))
        assert blob.is_whole(blob.ask())
        assert len(bytes_asked(source)) == before


def test_storage_that_is_not_allowed(tmp_path: Path) -> None:
    """No address is told that the proxy itself would not connect to."""
    port = free_port()
    location = f"http://localhost:{port}/x?Signature=secret"
    with (
        LocalCloud() as cloud,
        caching(cloud.registry_url, tmp_path / "front", *LOUD) as front,
        blob_of(front) as blob,
    ):
        assert cloud.registry
        cloud.registry.interpose = lambda request: (
            Response(307, (("Location", location),)) if is_blob(request) else None
        )
        answer = blob.ask()
        assert answer.status_code == 502
        assert "where the proxy may not get it from" in answer.text
        assert "localhost, which is " in front.proxy.log
        assert "secret" not in front.log
        wait_until(lambda: len(front.fetches) == 1, "a line of log")
        assert "status=502 " in front.fetches[0]
