"""The cache of blobs where something breaks: no client ever has to know of it."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.image import Image
from localcloud.relay import Failure, Fault, Relay
from localcloud.server import Request, Response
from mitm.option import ValueRefused
from tests.client.client import Docker
from tests.integration.blob import first_layer, peak_megabytes
from tests.integration.caching import (
    OCTETS,
    Seen,
    Shelf,
    caching,
    digest_of,
    kept,
    made_up,
    partial,
    pull,
)
from tests.integration.fault import ALIAS, IN_BLOB, LOCATION, TIMEOUT_SECONDS, port_of
from tests.integration.scripted import registry as scripted
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.storage import nginx
from tests.integration.tool import ToolError, find_tool, require_root, wait_until

IMPATIENT = ("--set", f"balena_registry_timeout={TIMEOUT_SECONDS}")
SIZE = 2 << 20
"""Bytes of most blobs here."""
BEGUN = 300_000
"""So many of them come before something happens."""


class Client:
    """Somebody who may pull."""

    def __init__(self, proxy: Proxy, session: requests.Session) -> None:
        self._base = f"http://{proxy.host}"
        self._session = session
        session.headers["Authorization"] = f"Bearer {get_token(self._base, ALIAS)}"

    def url(self, digest: str) -> str:
        """Return the URL of a blob."""
        return f"{self._base}/v2/{ALIAS}/blobs/{digest}"

    def pull(self, digest: str, **headers: str) -> Seen:
        """Return what there is to see of a blob."""
        return pull(self._session, self.url(digest), **headers)

    @contextmanager
    def open(self, digest: str) -> Iterator[requests.Response]:
        """Yield the answer, of which nothing was read."""
        sent = {"Accept-Encoding": "identity"}
        with self._session.get(
            self.url(digest), headers=sent, stream=True, timeout=TIMEOUT
        ) as answer:
            yield answer

    def learn_layer(self) -> str:
        """Get the manifest, and return the digest of its last layer."""
        return first_layer(self._session, self._base, ALIAS)[0]


@contextmanager
def client_of(proxy: Proxy) -> Iterator[Client]:
    """Return a client with a token."""
    with plain_session() as session:
        yield Client(proxy, session)


@dataclass(frozen=True, slots=True)
class Setting:
    """A registry that has blobs, a cable to it, and a proxy with a cache."""

    cloud: LocalCloud
    shelf: Shelf
    cable: Relay
    folder: Path
    proxy: Proxy
    client: Client
    clock: SimpleNamespace
    """It is `ahead` by so many seconds."""

    @property
    def url(self) -> str:
        """The registry's, by the cable."""
        return f"http://127.0.0.1:{self.cable.port}"

    def caching(self, folder: Path, *arguments: str, **variables: str) -> Proxy:
        """Return another proxy before the same registry."""
        variables = {"API_URL": self.cloud.api_url, **variables}
        return caching(self.url, folder, *arguments, **variables)

    def news(self) -> str:
        """Return what the log has had since this was asked last."""
        return self.proxy.news()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """Run all of it once."""
    folder = tmp_path_factory.mktemp("cache")
    clock = SimpleNamespace(ahead=0.0)
    with ExitStack() as stack:
        cloud = stack.enter_context(
            LocalCloud(clock=lambda: time.time() + clock.ahead, redirect_blobs=True)
        )
        assert cloud.registry
        cable = stack.enter_context(Relay(port_of(cloud.registry_url)))
        proxy = stack.enter_context(
            caching(
                f"http://127.0.0.1:{cable.port}",
                folder,
                *IMPATIENT,
                API_URL=cloud.api_url,
            )
        )
        client = stack.enter_context(client_of(proxy))
        # From now on it is known that the registry redirects.
        digest = client.learn_layer()
        assert client.pull(digest).is_whole(digest)
        kept(folder, digest).unlink()
        shelf = Shelf(cloud.registry)
        yield Setting(cloud, shelf, cable, folder, proxy, client, clock)


@pytest.fixture
def setting(started: Setting) -> Iterator[Setting]:
    """The same, which works again after the test."""
    started.news()
    yield started
    started.cable.mend()
    started.shelf.odd = None
    started.clock.ahead = 0.0
    assert "Traceback" not in started.proxy.log


def cut(length: int = BEGUN, failure: Failure = Failure.CUT, *, is_once: bool) -> Fault:
    """Return what breaks a blob off, so many bytes after its beginning."""
    return Fault(failure, IN_BLOB, length, is_once)


@pytest.mark.parametrize("failure", [Failure.CUT, Failure.STALL])
def test_transfer_that_breaks_is_continued(setting: Setting, failure: Failure) -> None:
    """The client sees nothing of it, and no byte comes twice."""
    digest = setting.shelf.add(made_up(f"continued {failure}", SIZE))
    setting.cable.fail(cut(failure=failure, is_once=True))
    assert setting.client.pull(digest).is_whole(digest)
    asked = [each for each in setting.shelf.ranges(digest) if each != "bytes=0-0"]
    whole, rest = asked
    assert whole is None
    assert rest
    begin = int(rest.removeprefix("bytes=").removesuffix("-"))
    assert 0 < begin <= BEGUN
    assert f"breaks off after {begin} bytes, and is continued" in setting.news()
    assert kept(setting.folder, digest).stat().st_size == SIZE


def send_all(request: Request, content: bytes) -> Response | None:
    """Answer as a storage without ranges; the first byte is asked for in a search."""
    if request.header("Range") == "bytes=0-0":
        return None
    return Response(200, (OCTETS,), content)


def send_other_part(request: Request, content: bytes) -> Response | None:
    """Answer with the right bytes by a wrong name, once something was sent."""
    if request.header("Range") in (None, "bytes=0-0"):
        return None
    content_range = f"bytes 0-{SIZE - 1}/{SIZE}"
    return Response(206, (OCTETS, ("Content-Range", content_range)), content)


def send_other_length(request: Request, content: bytes) -> Response | None:
    """Say afterwards that the blob has another length."""
    begin = request.header("Range")
    if begin in (None, "bytes=0-0"):
        return None
    first = int((begin or "").removeprefix("bytes=").removesuffix("-"))
    content_range = f"bytes {first}-{SIZE - 2}/{SIZE - 1}"
    return Response(206, (OCTETS, ("Content-Range", content_range)), content[first:-1])


def send_error(request: Request, _: bytes) -> Response | None:
    """Let nobody have the rest."""
    is_rest = request.header("Range") not in (None, "bytes=0-0")
    return Response(403, (), b"secret reason") if is_rest else None


@pytest.mark.parametrize(
    "odd", [send_all, send_other_part, send_other_length, send_error]
)
def test_transfer_that_cannot_be_continued(
    setting: Setting, odd: Callable[[Request, bytes], Response | None]
) -> None:
    """The client sees a broken transfer, as without a cache, and then the blob."""
    content = made_up(f"not continued {odd.__name__}", SIZE)
    digest = setting.shelf.add(content)
    setting.shelf.odd = odd
    setting.cable.fail(cut(is_once=True))
    seen = setting.client.pull(digest)
    assert not seen.is_complete
    assert content.startswith(seen.body)
    assert not kept(setting.folder, digest).exists()
    assert f"the blob {digest} is not kept" in setting.news()
    setting.shelf.odd = None
    assert setting.client.pull(digest).is_whole(digest)
    assert partial(setting.folder) == []


def test_signed_url_that_is_over_in_between(setting: Setting) -> None:
    """The registry is asked for another, with the token; the storage sees none."""
    cloud = setting.cloud
    assert cloud.storage
    digest = setting.client.learn_layer()
    with Relay(port_of(cloud.storage_url)) as cable:

        def redirect(request: Request) -> Response | None:
            if digest not in request.path:
                return None
            response = cloud.registry and cloud.registry.application(request)
            assert response
            location = urlsplit(response.header("Location") or "")
            place = location._replace(netloc=f"127.0.0.1:{cable.port}").geturl()
            return Response(307, (("Location", place),))

        def expire(request: Request) -> Response:
            assert cloud.storage
            response = cloud.storage.application(request)
            if request.header("Range") is None:
                setting.clock.ahead = 2000.0
            return response

        assert cloud.registry
        cloud.registry.interpose = redirect
        cloud.storage.interpose = expire
        cable.fail(cut(is_once=True))
        try:
            seen = setting.client.pull(digest)
        finally:
            cloud.registry.interpose = setting.shelf._answer
            cloud.storage.interpose = None
    assert seen.is_whole(digest)
    requests_ = [one for one in cloud.storage.requests if digest[7:] in one.path]
    assert len({one.query for one in requests_}) >= 2
    assert not any(one.header("Authorization") for one in requests_)
    assert setting.news().count("is continued") == 1


def send_less(_: Request, content: bytes) -> Response:
    """Leave out the end, and say so."""
    return Response(200, (OCTETS,), content[:-1000])


def send_other(_: Request, content: bytes) -> Response:
    """Send other bytes."""
    return Response(200, (OCTETS,), content[:-1] + bytes([content[-1] ^ 1]))


def send_nothing(_: Request, __: bytes) -> Response:
    """Send a blob without a byte."""
    return Response(200, (OCTETS,))


@pytest.mark.parametrize("size", [1000, SIZE], ids=["small", "large"])
@pytest.mark.parametrize("odd", [send_less, send_other, send_nothing])
def test_wrong_blob(
    setting: Setting, odd: Callable[[Request, bytes], Response], size: int
) -> None:
    """Nobody gets it whole from here; who asks again sees what is upstream."""
    content = made_up(f"wrong {odd.__name__}", size)
    digest = setting.shelf.add(content)
    setting.shelf.odd = odd
    first = setting.client.pull(digest)
    wrong = odd(Request("GET", ""), content).body or b""
    assert first.body != wrong or not first.is_complete
    assert first.status in (200, 502)
    assert not kept(setting.folder, digest).exists()
    assert partial(setting.folder) == []
    assert f"what came for the blob {digest} is something else" in setting.news()
    again = setting.client.pull(digest)
    assert (again.status, again.body, again.is_complete) == (200, wrong, True)
    setting.shelf.odd = None
    assert setting.client.pull(digest).is_whole(digest)


def test_more_bytes_than_were_announced(setting: Setting) -> None:
    """They count for nothing, here and for whatever is asked next."""
    digests = [setting.shelf.add(made_up(f"more {n}", SIZE)) for n in range(2)]

    def send_more(request: Request, content: bytes) -> Response | None:
        if request.header("Range"):
            return None
        headers = (OCTETS, ("Content-Length", str(len(content))))
        return Response(200, headers, content + b"HTTP/1.1 200 OK\r\n\r\n" * 99)

    setting.shelf.odd = send_more
    for digest in digests:
        assert setting.client.pull(digest).is_whole(digest)
        assert kept(setting.folder, digest).stat().st_size == SIZE


def test_packed_blob_goes_past_the_cache(setting: Setting) -> None:
    """The client gets what the registry sends, and how it says that it is packed."""
    content = made_up("packed", SIZE)
    digest = setting.shelf.add(content)
    packed = ("Content-Encoding", "gzip")
    setting.shelf.odd = lambda _, content: Response(200, (OCTETS, packed), content)
    with setting.client.open(digest) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.raw.read(decode_content=False) == content
    assert not kept(setting.folder, digest).exists()
    assert f"the blob {digest} is not kept: it is packed on its way" in setting.news()


def test_blob_without_a_length(setting: Setting) -> None:
    """It comes in chunks, past the cache."""
    content = made_up("chunks", SIZE)
    digest = setting.shelf.add(content)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, content)
    with scripted(lambda connection: connection.sendall(head + chunks)) as storage:
        location = ("Location", f"{storage}/blob")
        setting.shelf.odd = lambda *_: Response(307, (location,))
        assert setting.client.pull(digest).is_whole(digest)
    assert not kept(setting.folder, digest).exists()


def flip(path: Path) -> None:
    """Change a bit."""
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        (byte,) = file.read(1)
        file.seek(SIZE // 2)
        file.write(bytes([byte ^ 4]))


def flip_in_secret(path: Path) -> None:
    """Change a bit as a disk does, without a word."""
    status = path.stat()
    flip(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: Path) -> None:
    """Lose the end."""
    os.truncate(path, SIZE - 1)


def lose_bytes(path: Path) -> None:
    """Have zeros in the place of what was not written when the power was gone."""
    path.write_bytes(bytes(SIZE))


@pytest.mark.parametrize("damage", [flip, truncate, lose_bytes])
def test_damaged_blob_is_fetched_anew(
    setting: Setting, damage: Callable[[Path], None]
) -> None:
    """The client gets the right bytes, and the log says what was wrong."""
    digest = setting.shelf.add(made_up(f"damaged {damage.__name__}", SIZE))
    assert setting.client.pull(digest).is_whole(digest)
    damage(kept(setting.folder, digest))
    assert setting.client.pull(digest).is_whole(digest)
    assert setting.shelf.fetches(digest) == 2
    said = setting.news()
    assert f"the blob {digest} in the cache was damaged: it is removed" in said
    assert setting.client.pull(digest).is_whole(digest)
    assert setting.shelf.fetches(digest) == 2


def test_blob_that_another_program_put_there(setting: Setting) -> None:
    """It is served if it is right, and links and folders are none."""
    content = made_up("filled", SIZE)
    right, link, folder = (
        setting.shelf.add(each) for each in (content, content[1:], content[2:])
    )
    kept(setting.folder, right).write_bytes(content)
    target = setting.folder.parent / "secret"
    target.write_bytes(content[1:])
    kept(setting.folder, link).symlink_to(target)
    kept(setting.folder, folder).mkdir()
    for digest in (right, link, folder):
        assert setting.client.pull(digest).is_whole(digest)
    fetches = [setting.shelf.fetches(digest) for digest in (right, link, folder)]
    assert fetches[:2] == [0, 1]
    assert fetches[2] >= 1
    assert target.read_bytes() == content[1:]
    kept(setting.folder, folder).rmdir()


def test_first_client_leaves(setting: Setting) -> None:
    """The others have all of it, from the one fetch."""
    digest = setting.shelf.add(made_up("leaves", 16 << 20))
    setting.cable.fail(cut(8 << 20, Failure.STALL, is_once=True))
    with ThreadPoolExecutor(3) as pool:
        with client_of(setting.proxy) as first, first.open(digest) as answer:
            assert answer.raw.read(1 << 20)
            others = [pool.submit(setting.client.pull, digest) for _ in range(3)]
        assert all(each.result().is_whole(digest) for each in others)
    assert setting.shelf.fetches(digest) == 2  # One that stalled, and its rest.


def test_slow_client_holds_up_no_other(setting: Setting) -> None:
    """Who reads a byte now and then gets what is his, and others are long done."""
    size = 32 << 20
    digest = setting.shelf.add(made_up("slow", size))
    with client_of(setting.proxy) as slow, slow.open(digest) as answer:
        received = bytearray(answer.raw.read(1))
        assert setting.client.pull(digest).is_whole(digest)
        received += answer.raw.read(1)
        assert setting.client.pull(digest).is_whole(digest)
        received += answer.raw.read()
    assert digest_of(bytes(received)) == digest
    assert setting.shelf.fetches(digest) == 1


def test_fifty_clients_at_once(setting: Setting) -> None:
    """There is one fetch, and each has all of it."""
    digest = setting.shelf.add(made_up("fifty", SIZE))
    with ThreadPoolExecutor(50) as pool:
        seen = list(pool.map(setting.client.pull, [digest] * 50))
    assert all(each.is_whole(digest) for each in seen)
    assert setting.shelf.fetches(digest) == 1
    lines = ("fetched into the cache, ", "shared with another client, ", "from the ca")
    told = ""

    def counts() -> list[int]:
        nonlocal told
        told += setting.news()
        return [told.count(line) for line in lines]

    wait_until(lambda: sum(counts()) == 50, "a line for each")
    assert counts()[0] == 1


def test_clients_that_leave_take_nothing(setting: Setting) -> None:
    """Neither files nor threads are left of them, and others have the blob."""
    digests = [setting.shelf.add(made_up(f"left {n}", 16 << 20)) for n in range(3)]
    pid = setting.proxy.process.pid

    def leave(number: int) -> None:
        with (
            client_of(setting.proxy) as client,
            client.open(digests[number % 3]) as answer,
        ):
            assert answer.raw.read(100_000)

    def count(what: str) -> int:
        return len(list(Path(f"/proc/{pid}/{what}").iterdir()))

    leave(0)
    before = count("fd"), count("task")
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(leave, range(100)))
    for digest in digests:
        assert setting.client.pull(digest).is_whole(digest)
        assert setting.shelf.fetches(digest) == 1
    # Connections to registry and API are kept.
    wait_until(lambda: count("fd") < before[0] + 60, "files are closed")
    wait_until(lambda: count("task") <= before[1] + 5, "threads are over")


def test_folder_that_is_gone(setting: Setting, tmp_path: Path) -> None:
    """Pulls go on, and it is made anew."""
    folder = tmp_path / "cache"
    old = setting.shelf.add(made_up("gone", SIZE))
    new = setting.shelf.add(made_up("gone too", SIZE))
    with setting.caching(folder) as proxy, client_of(proxy) as client:
        assert client.pull(old).is_whole(old)
        shutil.rmtree(folder)
        for digest in (old, new):
            assert client.pull(digest).is_whole(digest)
            assert kept(folder, digest).exists()
        assert "Traceback" not in proxy.log


def test_killed_in_mid_write(setting: Setting, tmp_path: Path) -> None:
    """The next start removes what was left, and the blob is fetched anew (C1)."""
    folder = tmp_path / "cache"
    digest = setting.shelf.add(made_up("killed", SIZE))
    whole = setting.shelf.add(made_up("before", SIZE))
    with setting.caching(folder) as proxy, client_of(proxy) as client:
        assert client.pull(whole).is_whole(whole)
        setting.cable.fail(cut(failure=Failure.STALL, is_once=True))
        with client.open(digest) as answer:
            assert answer.raw.read(1000)
            assert len(partial(folder)) == 1
            proxy.process.kill()
            proxy.process.wait()
    setting.cable.mend()
    assert len(partial(folder)) == 1
    flip_in_secret(kept(folder, whole))
    with setting.caching(folder) as proxy, client_of(proxy) as client:
        assert partial(folder) == []
        assert not kept(folder, digest).exists()
        for each in (digest, whole):
            assert client.pull(each).is_whole(each)
            assert setting.shelf.fetches(each) == 2
        assert f"the blob {whole} in the cache was damaged" in proxy.log


def test_two_proxies_on_one_folder(setting: Setting, tmp_path: Path) -> None:
    """Each serves what the other fetched, and takes nothing from it."""
    digest = setting.shelf.add(made_up("two", 8 << 20))
    large = setting.shelf.add(made_up("two large", 18 << 20))
    size = {"CACHE_SIZE": "20MB"}
    with ExitStack() as stack:
        first = stack.enter_context(setting.caching(tmp_path, *IMPATIENT, **size))
        one = stack.enter_context(client_of(first))
        setting.cable.fail(cut(failure=Failure.STALL, is_once=True))
        answer = stack.enter_context(one.open(digest))
        begun = answer.raw.read(1000)
        # What the first one writes survives the start of the second.
        second = stack.enter_context(setting.caching(tmp_path, *IMPATIENT, **size))
        begun += answer.raw.read()
        assert digest_of(begun) == digest
        other = stack.enter_context(client_of(second))
        assert other.pull(digest).is_whole(digest)
        assert setting.shelf.fetches(digest) == 2  # With the rest of it.
        wait_until(lambda: "from the cache, " in second.log, "a line")
        # It is evicted by one under a reader of the other.
        reader = stack.enter_context(one.open(digest))
        received = reader.raw.read(1)
        assert other.pull(large).is_whole(large)
        assert not kept(tmp_path, digest).exists()
        assert digest_of(received + reader.raw.read()) == digest
        assert one.pull(large).is_whole(large)
        assert setting.shelf.fetches(large) == 1


def test_eviction(setting: Setting, tmp_path: Path) -> None:
    """Old blobs make room, but none that somebody reads, and the bound holds."""
    blobs = [setting.shelf.add(made_up(f"evicted {n}", 16 << 20)) for n in range(3)]
    larger = setting.shelf.add(made_up("larger", 24 << 20))
    with (
        setting.caching(tmp_path, CACHE_SIZE="20MB") as proxy,
        client_of(proxy) as client,
        client_of(proxy) as slow,
    ):
        assert client.pull(blobs[0]).is_whole(blobs[0])
        with slow.open(blobs[0]) as answer:
            received = answer.raw.read(1)
            assert client.pull(blobs[1]).is_whole(blobs[1])
            assert [kept(tmp_path, each).exists() for each in blobs[:2]] == [
                True,
                False,
            ]
            received += answer.raw.read()
        assert digest_of(received) == blobs[0]
        assert client.pull(blobs[2]).is_whole(blobs[2])
        assert not kept(tmp_path, blobs[0]).exists()
        assert client.pull(larger).is_whole(larger)
        assert kept(tmp_path, blobs[2]).exists()
        assert f"{larger} cannot be kept: it has 25165824 bytes, and the" in proxy.log


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a disk that is in memory."""
    require_root("mount")
    folder.mkdir()
    command = [find_tool("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True)
    try:
        yield
    finally:
        subprocess.run([find_tool("umount"), "-l", str(folder)], check=True)


def test_full_disk(setting: Setting, tmp_path: Path) -> None:
    """Old blobs make room; what has none goes past the cache, and the log says so."""
    disk = tmp_path / "disk"
    names = ("one", "two", "three")
    blobs = [setting.shelf.add(made_up(f"full {n}", SIZE)) for n in names]
    larger = setting.shelf.add(made_up("full larger", 4 * SIZE))
    with (
        mounted(disk, "size=5m"),
        setting.caching(disk) as proxy,
        client_of(proxy) as client,
    ):
        for digest in (*blobs, larger):
            assert client.pull(digest).is_whole(digest)
        assert f"{larger} cannot be kept: No space left on device" in proxy.log
        assert "Traceback" not in proxy.log
        assert [kept(disk, each).exists() for each in blobs] == [False, True, True]
        (disk / "others").write_bytes(bytes(900_000))
        small = setting.shelf.add(made_up("small", 1000))
        assert client.pull(small).is_whole(small)
        assert partial(disk) == []


def test_disk_that_is_only_read(setting: Setting, tmp_path: Path) -> None:
    """One line names the folder and what would work."""
    disk = tmp_path / "disk"
    with (
        mounted(disk, "ro"),
        pytest.raises(ValueRefused, match=f"CACHE: '{disk}' cannot be written by this"),
        setting.caching(disk),
    ):
        pass


LARGE = 1 << 30
"""Bytes of a blob that is much larger than the proxy."""
READERS = 20


def test_memory_does_not_grow(setting: Setting, tmp_path: Path) -> None:
    """No byte of a blob stays in the process, whoever reads it how slowly."""
    storage = tmp_path / "storage"
    storage.mkdir()
    sizes = {"large": LARGE, "shared": LARGE >> 4}
    digests = {name: digest_of(bytes(size)) for name, size in sizes.items()}
    for name, size in sizes.items():
        with (storage / digests[name]).open("wb") as sparse:
            sparse.truncate(size)
    for digest in digests.values():
        setting.shelf.contents[digest] = b""
    small = setting.shelf.add(made_up("warm up", SIZE))
    with (
        nginx(tmp_path, f"root {storage};") as port,
        setting.caching(tmp_path / "cache") as proxy,
        client_of(proxy) as client,
    ):
        place = f"http://127.0.0.1:{port}/"
        setting.shelf.odd = lambda request, content: (
            None
            if content
            else Response(307, (("Location", place + request.path.rpartition("/")[2]),))
        )

        def read(digest: str) -> int:
            with client.open(digest) as answer:
                return sum(map(len, answer.iter_content(1 << 20)))

        with ThreadPoolExecutor(READERS) as pool:
            assert set(pool.map(read, [small] * READERS)) == {SIZE}
            before = peak_megabytes(proxy.process.pid)
            assert read(digests["large"]) == LARGE
            assert set(pool.map(read, [digests["shared"]] * READERS)) == {LARGE >> 4}
        assert peak_megabytes(proxy.process.pid) - before < 20


@pytest.fixture
def image(setting: Setting) -> Image:
    """An image whose blobs are on the shelf, and not in the cache."""
    (image,) = (i for i in setting.cloud.images if i.repository.endswith(LOCATION))
    for blob in image.blobs:
        kept(setting.folder, setting.shelf.add(blob.content)).unlink(missing_ok=True)
    return image


def test_docker_sees_nothing_of_a_break(
    setting: Setting, image: Image, docker: Docker
) -> None:
    """It need not try again, and does not while nobody upstream sends a blob."""
    setting.cable.fail(cut(is_once=True))
    reference = f"{setting.proxy.host}/{ALIAS}"
    assert docker.pull(reference) == image.digest
    assert setting.news().count("is continued") == 1
    docker.forget()
    setting.shelf.odd = lambda *_: Response(503)
    assert docker.pull(reference) == image.digest
    assert all(setting.shelf.fetches(blob.digest) <= 2 for blob in image.blobs)


def test_docker_gets_no_wrong_blob(
    setting: Setting, image: Image, docker: Docker
) -> None:
    """It is told as without a cache, because it asks again."""
    setting.shelf.odd = send_other
    with pytest.raises(ToolError, match="config verification failed for digest"):
        docker.pull(f"{setting.proxy.host}/{ALIAS}")
    assert not any(kept(setting.folder, each.digest).exists() for each in image.blobs)
