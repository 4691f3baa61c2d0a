"""Where a blob comes from, and how often the registry is asked (rules C2, C3)."""

import asyncio
import errno
import gc
import http.client
import os
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from resolver.blob import cache as cache_module
from resolver.blob.cache import DISK_THREADS, TRUSTED_SECONDS, BlobCache
from resolver.blob.folder import Blob, Folder
from resolver.blob.grant import Grants
from resolver.blob.request import Found, Request, Wish
from resolver.blob.server import IDLE_SECONDS, STRANGERS_MAX, BlobServer
from resolver.errors import ServiceUnavailable
from resolver.grammar.reference import Digest
from resolver.storage.redirect import Permission, Redirects, Route
from resolver.storage.url import Url
from resolver.upstream import threads
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import CacheState
from resolver.upstream.pause import current_try
from resolver.upstream.transport import Transport
from tests.resolver.blob.work import Answer, digest_of, whole
from tests.resolver.fake import LOCATION, REGISTRY

CONTENT = bytes(range(256)) * 1000
DIGEST = digest_of(CONTENT)
PATH = f"/v2/{LOCATION}/blobs/{DIGEST}"
TOKEN, STRANGER = "Bearer token", "Bearer stranger"
STORED = Route(
    Url("https", "s3.example.com", 443, "/x?Signature=abc"), ("8.8.8.8",), False
)
GRANTED = Permission(is_granted=True)
REFUSED = Permission(is_granted=False)


class Upstream:
    """Registry and storage: who was asked for what, by which login."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str | None]] = []
        self.found: list[str] = []
        self.route: Route | None = None
        self.answer: Callable[[], Answer] = lambda: whole(CONTENT)

    def find(self, _: str, path: str, login: str, __: Deadline) -> Route | None:
        """Return where a blob is."""
        self.found.append(login)
        assert path == PATH
        return self.route

    @contextmanager
    def open(
        self, url: str, *, authorization: str | None, begin: int, deadline: Deadline
    ) -> Iterator[Answer]:
        """Yield the blob."""
        assert deadline.remaining
        assert begin == 0
        self.opened.append((url, authorization))
        yield self.answer()

    def close(self) -> None:
        """Do nothing."""


class Bench:
    """A cache, and everything around it."""

    def __init__(self, path: Path) -> None:
        self.upstream = Upstream()
        self.grants = Grants()
        self.grants.add(TOKEN, f"/v2/{LOCATION}", [DIGEST])
        self.now = 1_800_000_000.0
        self.folder = Folder(path, 10**9, clock=lambda: self.now)
        self.asked = 0
        self.permission = GRANTED
        self.cache = BlobCache(
            self.folder,
            cast("Redirects", self.upstream),
            cast("Transport", self.upstream),
            grants=self.grants,
            registry_url=REGISTRY,
            seconds=10,
        )

    async def ask(self) -> Permission:
        """Return what the registry says."""
        self.asked += 1
        return self.permission

    def request(
        self, token: str = TOKEN, method: str = "GET", **headers: str
    ) -> Request:
        """Return a request for the blob."""
        return Request(Wish(method, DIGEST, headers), PATH, token, ())

    async def find(
        self, token: str = TOKEN, method: str = "GET", **headers: str
    ) -> Found | None:
        """Return where the blob comes from."""
        return await self.cache.find(self.request(token, method, **headers), self.ask)

    async def get(
        self, token: str = TOKEN, **headers: str
    ) -> tuple[CacheState | None, bytes]:
        """Return where the blob comes from, and what is sent."""
        found = await self.find(token, **headers)
        assert found
        return found.state, await asyncio.to_thread(read, found)


def read(found: Found) -> bytes:
    """Return what is sent at the end of a route."""
    assert found.route
    assert found.route.is_cache
    url = found.route.destination
    connection = http.client.HTTPConnection(url.host, url.port, timeout=10)
    try:
        connection.request("GET", url.path)
        return connection.getresponse().read()
    finally:
        connection.close()


def none_left(*_: object) -> None:
    """Start no thread, as a system that has none left."""
    raise RuntimeError("can't start new thread")


def play(path: Path, scene: Callable[[Bench], Awaitable[None]]) -> Bench:
    """Play a scene with a cache in a folder, and let all that it began end."""

    async def run() -> Bench:
        bench = Bench(path)
        try:
            await scene(bench)
            await asyncio.gather(*bench.cache._tasks)
        finally:
            bench.cache.close()
        return bench

    return asyncio.run(run())


def test_blob_is_fetched_once(tmp_path: Path) -> None:
    """Then it is kept, and nobody is asked."""

    async def scene(bench: Bench) -> None:
        assert await bench.get() == (CacheState.MISS, CONTENT)
        assert await bench.get() == (CacheState.HIT, CONTENT)

    bench = play(tmp_path, scene)
    assert bench.upstream.opened == [(f"{REGISTRY}{PATH}", TOKEN)]
    assert bench.asked == 0


def test_storage_sees_no_token(tmp_path: Path) -> None:
    """What is behind a redirect is fetched without a login."""

    async def scene(bench: Bench) -> None:
        bench.upstream.route = STORED
        assert await bench.get() == (CacheState.MISS, CONTENT)

    assert play(tmp_path, scene).upstream.opened == [(STORED.destination.text, None)]


def test_who_has_no_grant_is_asked_for(tmp_path: Path) -> None:
    """Each time, and what the registry says of where it is, is used."""

    async def scene(bench: Bench) -> None:
        bench.permission = Permission(is_granted=True, route=STORED)
        assert await bench.get("Bearer other") == (CacheState.MISS, CONTENT)
        assert await bench.get("Bearer other") == (CacheState.HIT, CONTENT)

    bench = play(tmp_path, scene)
    assert bench.asked == 2
    assert bench.upstream.found == []
    assert bench.upstream.opened == [(STORED.destination.text, None)]


@pytest.mark.parametrize("is_there", [False, True])
def test_stranger_learns_nothing(tmp_path: Path, *, is_there: bool) -> None:
    """The registry is asked alike, and answers alike, whether it is here (T12)."""

    async def scene(bench: Bench) -> None:
        if is_there:
            await bench.get()
        bench.upstream.opened.clear()
        bench.upstream.found.clear()
        bench.permission = REFUSED
        for method in ("GET", "HEAD"):
            assert await bench.find(STRANGER, method) == Found(None)

    bench = play(tmp_path, scene)
    assert bench.asked == 2
    assert not bench.upstream.opened
    assert not bench.upstream.found


def test_registry_that_does_not_answer(tmp_path: Path) -> None:
    """Who has no grant gets nothing, though the blob is here."""

    async def scene(bench: Bench) -> None:
        await bench.get()

        async def fail() -> Permission:
            raise ServiceUnavailable("the registry does not answer")

        request = Request(Wish("GET", DIGEST, {}), PATH, STRANGER, ())
        with pytest.raises(ServiceUnavailable):
            await bench.cache.find(request, fail)

    play(tmp_path, scene)


def test_many_at_once_cause_one_fetch(tmp_path: Path) -> None:
    """All get it whole (C3)."""

    async def scene(bench: Bench) -> None:
        results = await asyncio.gather(*(bench.get() for _ in range(50)))
        states = [state for state, _ in results]
        assert states.count(CacheState.MISS) == 1
        assert states.count(CacheState.SHARED) == 49
        assert all(content == CONTENT for _, content in results)

    assert len(play(tmp_path, scene).upstream.opened) == 1


def test_slow_client_holds_up_no_other(tmp_path: Path) -> None:
    """Nor does one that never comes for what it asked (C3)."""

    async def scene(bench: Bench) -> None:
        assert await bench.find()
        assert (await bench.get())[1] == CONTENT

    play(tmp_path, scene)


def test_failed_fetch_is_nobodys_answer(tmp_path: Path) -> None:
    """Each client's own request shows what the registry says."""

    async def scene(bench: Bench) -> None:
        bench.upstream.answer = lambda: Answer([], 404)
        assert await bench.find() is None
        await asyncio.gather(*bench.cache._tasks)
        bench.upstream.answer = lambda: whole(CONTENT)
        assert (await bench.get())[0] is CacheState.MISS

    play(tmp_path, scene)


def test_wrong_bytes_are_not_fetched_again_at_once(tmp_path: Path) -> None:
    """The next one who asks sees what the storage sends, and can say what is wrong."""

    async def scene(bench: Bench) -> None:
        bench.upstream.answer = lambda: whole(CONTENT[:-1] + b"x")
        with pytest.raises(http.client.HTTPException):
            await bench.get()
        await asyncio.gather(*bench.cache._tasks)
        assert await bench.find() is None

    play(tmp_path, scene)


def test_damaged_blob_is_fetched_anew(tmp_path: Path) -> None:
    """Without anybody noticing."""

    async def scene(bench: Bench) -> None:
        await bench.get()
        (path,) = (entry.path for entry in bench.folder.entries())
        path.write_bytes(CONTENT[:-1] + b"x")
        assert await bench.get() == (CacheState.MISS, CONTENT)

    assert len(play(tmp_path, scene).upstream.opened) == 2


def test_blob_that_takes_long_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client waits a while, and then goes past it; later ones do not wait."""
    gate = threading.Event()

    async def scene(bench: Bench) -> None:
        await bench.get()
        bench.folder._checked.clear()
        check = bench.folder.check

        def slow(*arguments: object) -> bool:
            gate.wait(10)
            return check(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(bench.folder, "check", slow)
        monkeypatch.setattr(cache_module, "DISK_SECONDS", 0.2)
        assert await bench.find() is None
        gate.set()
        monkeypatch.setattr(cache_module, "DISK_SECONDS", 10)
        assert (await bench.get())[0] is CacheState.HIT

    bench = play(tmp_path, scene)
    assert len(bench.upstream.opened) == 1


def test_check_of_many_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as can be are checked; one that was checked before comes at once."""
    goes_on, begun = threading.Event(), threading.Semaphore(0)
    others = [digest_of(bytes([n])) for n in range(DISK_THREADS)]

    async def scene(bench: Bench) -> None:
        await bench.get()
        for digest in others:
            (tmp_path / "blobs" / "sha256" / digest.partition(":")[2]).touch()
        bench.grants.add(TOKEN, f"/v2/{LOCATION}", others)

        def hang(*_: object) -> bool:
            begun.release()
            goes_on.wait(10)
            return True

        monkeypatch.setattr(bench.folder, "check", hang)
        tasks = [
            asyncio.create_task(
                bench.cache.find(
                    Request(Wish("GET", digest, {}), PATH, TOKEN, ()), bench.ask
                )
            )
            for digest in others
        ]
        try:
            for _ in others:
                assert await asyncio.to_thread(begun.acquire, timeout=10)
            assert (await bench.get())[0] is CacheState.HIT
            assert not any(task.done() for task in tasks)
        finally:
            goes_on.set()
            await asyncio.gather(*tasks)

    play(tmp_path, scene)


def test_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients go past it."""
    monkeypatch.setattr(cache_module, "DISK_SECONDS", 0)
    gate = threading.Event()

    async def scene(bench: Bench) -> None:
        def hang(_: object) -> None:
            gate.wait(10)

        monkeypatch.setattr(bench.folder, "open", hang)
        assert await bench.find() is None
        gate.set()

    assert play(tmp_path, scene).upstream.opened == []


def test_disk_that_gets_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients go past it as well: a cache is no reason to refuse a blob."""

    async def scene(bench: Bench) -> None:
        await bench.get()
        monkeypatch.setattr(threads, "start_thread", none_left)
        assert await bench.find() is None

    play(tmp_path, scene)


def test_file_that_is_exchanged_while_another_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets the one that was not (C1)."""
    is_checking, gate = threading.Event(), threading.Event()

    async def scene(bench: Bench) -> None:
        (tmp_path / "blobs/sha256" / DIGEST.partition(":")[2]).write_bytes(CONTENT)
        check, open_blob = bench.folder.check, bench.folder.open
        opened: list[Digest] = []

        def slow(digest: Digest, blob: Blob) -> bool:
            is_checking.set()
            gate.wait(10)
            return check(digest, blob)

        def count(digest: Digest) -> Blob | None:
            blob = open_blob(digest)
            opened.append(digest)
            return blob

        monkeypatch.setattr(bench.folder, "check", slow)
        monkeypatch.setattr(bench.folder, "open", count)
        first = asyncio.create_task(bench.get())
        await asyncio.to_thread(is_checking.wait, 10)
        (path,) = (entry.path for entry in bench.folder.entries())
        other = tmp_path / "other"
        other.write_bytes(b"x" * len(CONTENT))
        other.replace(path)
        second = asyncio.create_task(bench.get())
        while len(opened) < 2:
            await asyncio.sleep(0)
        gate.set()
        assert [content for _, content in await asyncio.gather(first, second)] == [
            CONTENT,
            CONTENT,
        ]

    play(tmp_path, scene)


def test_storage_that_is_tried_again(tmp_path: Path) -> None:
    """Who looks for a blob pauses between two tries, and is not interrupted."""

    async def scene(bench: Bench) -> None:
        def find(*_: object) -> None:
            assert current_try.get() == 0

        bench.upstream.find = find  # type: ignore[assignment, method-assign]
        assert (await bench.get())[1] == CONTENT

    play(tmp_path, scene)


def test_blob_that_is_asked_for_again(tmp_path: Path) -> None:
    """A disk may lose a bit that only the client sees; so it is checked again."""

    async def scene(bench: Bench) -> None:
        await bench.get()
        await asyncio.gather(*bench.cache._tasks)
        (path,) = (entry.path for entry in bench.folder.entries())
        status = path.stat()
        path.write_bytes(CONTENT[:-1] + b"x")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        damaged = (CacheState.HIT, CONTENT[:-1] + b"x")
        assert await bench.get() == damaged
        assert await bench.get() == damaged  # It was checked a moment ago.
        bench.now += TRUSTED_SECONDS + 1
        assert await bench.get() == (CacheState.MISS, CONTENT)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "headers", [{"range": "bytes=100-"}, {"range": "bytes=0-9"}, {"range": "bytes=-9"}]
)
def test_part_of_what_is_not_here(tmp_path: Path, headers: dict[str, str]) -> None:
    """It goes past the cache, and no whole blob is fetched for it."""

    async def scene(bench: Bench) -> None:
        assert await bench.find(**headers) is None

    assert play(tmp_path, scene).upstream.opened == []


def test_part_of_what_is_being_fetched(tmp_path: Path) -> None:
    """It comes from there: who lost the connection goes on."""

    async def scene(bench: Bench) -> None:
        assert await bench.find()
        state, content = await bench.get(range=f"bytes={len(CONTENT) - 9}-")
        assert state in (CacheState.SHARED, CacheState.HIT)
        assert content == CONTENT[-9:]

    assert len(play(tmp_path, scene).upstream.opened) == 1


def test_part_that_is_far_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for gigabytes that he did not ask for."""
    monkeypatch.setattr(cache_module, "AHEAD_LENGTH", 1000)
    gate = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield CONTENT[:1000]
        gate.wait(10)
        yield CONTENT[1000:]

    async def scene(bench: Bench) -> None:
        length = str(len(CONTENT))
        bench.upstream.answer = lambda: Answer(pieces(), Content_Length=length)
        assert await bench.find()
        (fetch,) = bench.cache._fetches.values()
        await asyncio.to_thread(fetch.wait, 0)
        assert await bench.find(range="bytes=2001-") is None
        near = await bench.find(range="bytes=2000-")
        gate.set()
        assert near
        assert near.state is CacheState.SHARED

    play(tmp_path, scene)


def test_blob_that_comes_while_the_disk_is_asked(tmp_path: Path) -> None:
    """It is found, though it was not there at first."""
    gate = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield CONTENT[:1000]
        gate.wait(10)
        yield CONTENT[1000:]

    async def scene(bench: Bench) -> None:
        kept = bench.cache._kept

        async def kept_late(request: Request) -> Blob | None:
            blob = await kept(request)
            gate.set()
            await asyncio.gather(*bench.cache._tasks)
            return blob

        length = str(len(CONTENT))
        bench.upstream.answer = lambda: Answer(pieces(), Content_Length=length)
        assert await bench.find()
        monkey = pytest.MonkeyPatch()
        monkey.setattr(bench.cache, "_kept", kept_late)
        assert await bench.get(range="bytes=5-9") == (CacheState.HIT, CONTENT[5:10])

    play(tmp_path, scene)


def test_head_of_what_is_here(tmp_path: Path) -> None:
    """It is answered from the cache, without a body."""

    async def scene(bench: Bench) -> None:
        assert await bench.find(method="HEAD") is None
        await bench.get()
        found = await bench.find(method="HEAD")
        assert found
        assert await asyncio.to_thread(read_head, found) == len(CONTENT)

    play(tmp_path, scene)


def read_head(found: Found) -> int:
    """Return the length that stands in the answer to HEAD."""
    assert found.route
    url = found.route.destination
    connection = http.client.HTTPConnection(url.host, url.port, timeout=10)
    connection.request("HEAD", url.path)
    answer = connection.getresponse()
    assert answer.read() == b""
    connection.close()
    return int(answer.headers["Content-Length"])


@pytest.mark.parametrize(
    "path", ["/", "/?ticket=", "/?ticket=none", "\r\n", "x" * 70_000]
)
def test_nobody_gets_a_blob_without_a_ticket(tmp_path: Path, path: str) -> None:
    """Whoever else connects to the server is told nothing."""

    async def scene(bench: Bench) -> None:
        await bench.get()
        with suppress(ConnectionResetError):
            assert await asyncio.to_thread(ask, bench.cache.address, path) == b""

    play(tmp_path, scene)


def ask(address: tuple[str, int], path: str) -> bytes:
    """Return what somebody else gets."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        return connection.recv(1000)


def test_ticket_is_good_for_one_answer(tmp_path: Path) -> None:
    """A URL that somebody finds later leads to nothing."""

    async def scene(bench: Bench) -> None:
        found = await bench.find()
        assert found
        assert await asyncio.to_thread(read, found) == CONTENT
        with pytest.raises(http.client.HTTPException):
            await asyncio.to_thread(read, found)

    play(tmp_path, scene)


def test_connection_is_kept(tmp_path: Path) -> None:
    """Several blobs come on one."""

    async def scene(bench: Bench) -> None:
        found = [await bench.find() for _ in range(3)]
        connection = http.client.HTTPConnection(*bench.cache.address, timeout=10)
        for each in found:
            assert each
            assert each.route
            path = each.route.destination.path

            def get(path: str = path) -> bytes:
                connection.request("GET", path)
                return connection.getresponse().read()

            assert await asyncio.to_thread(get) == CONTENT
        connection.close()

    play(tmp_path, scene)


def test_file_is_closed_while_its_connection_is_kept(tmp_path: Path) -> None:
    """The disk has its bytes no longer than its reader needs them (C5)."""

    async def scene(bench: Bench) -> None:
        await bench.get()
        await asyncio.gather(*bench.cache._tasks)
        found, is_closed = await bench.find(), threading.Event()
        (ticket,) = bench.cache._server._tickets.values()
        weakref.finalize(ticket.body, is_closed.set)
        del ticket
        assert found
        assert found.route
        connection = http.client.HTTPConnection(*bench.cache.address, timeout=10)
        connection.request("GET", found.route.destination.path)
        assert await asyncio.to_thread(connection.getresponse().read) == CONTENT
        assert await asyncio.to_thread(is_closed.wait, IDLE_SECONDS / 2)
        connection.close()

    play(tmp_path, scene)


def test_connections_that_bring_no_ticket(tmp_path: Path) -> None:
    """Whoever else is on the machine takes few threads, and none of our transfers."""

    async def scene(bench: Bench) -> None:
        await bench.get()
        found = [await bench.find() for _ in range(2)]
        ours = http.client.HTTPConnection(*bench.cache.address, timeout=10)

        def get() -> bytes:
            each = found.pop()
            assert each
            assert each.route
            ours.request("GET", each.route.destination.path)
            return ours.getresponse().read()

        def crowd() -> None:
            assert get() == CONTENT
            with ExitStack() as stack:
                silent = [
                    stack.enter_context(
                        socket.create_connection(bench.cache.address, IDLE_SECONDS / 2)
                    )
                    for _ in range(STRANGERS_MAX + 10)
                ]
                # One may be there for the ticket that is left.
                assert [each.recv(1) for each in silent[:9]] == [b""] * 9
                assert get() == CONTENT

        await asyncio.to_thread(crowd)
        assert await bench.get() == (CacheState.HIT, CONTENT)
        ours.close()

    play(tmp_path, scene)


def test_server_that_may_open_no_file_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves as soon as it can again."""
    failures = iter([OSError(errno.EMFILE, "too many open files")] * 2)
    accept = socket.socket.accept

    def fail_first(listener: socket.socket) -> object:
        for failure in failures:
            raise failure
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", fail_first)

    async def scene(bench: Bench) -> None:
        assert await bench.get() == (CacheState.MISS, CONTENT)

    play(tmp_path, scene)


def test_registry_that_resets_a_connection(tmp_path: Path) -> None:
    """The fetch waits itself, and is not run anew: what it has it has."""

    async def scene(bench: Bench) -> None:
        tries = []

        def find(*_: object) -> None:
            tries.append(current_try.get())

        monkey = pytest.MonkeyPatch()
        monkey.setattr(bench.upstream, "find", find)
        assert await bench.get() == (CacheState.MISS, CONTENT)
        assert tries == [0]

    play(tmp_path, scene)


def test_fetch_that_gets_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blob goes past the cache, and nobody waits."""

    async def scene(bench: Bench) -> None:
        assert await bench.cache._kept(bench.request()) is None
        run = bench.cache._threads.run

        async def run_without(*arguments: Any, **options: Any) -> None:
            monkeypatch.setattr(threads, "start_thread", none_left)
            try:
                await run(*arguments, **options)
            finally:
                monkeypatch.undo()

        monkeypatch.setattr(bench.cache._threads, "run", run_without)
        assert await bench.find() is None

    play(tmp_path, scene)


def test_connection_that_comes_as_the_server_closes() -> None:
    """It is closed like those before."""
    server = BlobServer()
    server.close()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), timeout=2) as ours,
    ):
        server.welcome(listener.accept()[0])
        assert ours.recv(1) == b""


def test_server_that_nobody_has_any_more_ends(tmp_path: Path) -> None:
    """Each change of the options makes another one."""

    async def play() -> None:
        bench = Bench(tmp_path)
        address = bench.cache.address
        await bench.get()
        await asyncio.gather(*bench.cache._tasks)
        del bench
        for _ in range(1000):
            gc.collect()
            try:
                socket.create_connection(address, timeout=10).close()
            except ConnectionRefusedError:
                return
            await asyncio.sleep(0.01)  # Between two looks.
        pytest.fail("somebody still listens")

    asyncio.run(play())
