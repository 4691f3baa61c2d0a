"""One fetch for all: what readers get, and what becomes of it where something fails."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.blob.fetch import (
    DESERTED_SECONDS,
    HELD_LENGTH,
    RESUMES_MAX,
    Broken,
    Fetch,
)
from resolver.blob.folder import Folder
from resolver.errors import RedirectRefused, ServiceUnavailable
from tests.resolver.blob.work import (
    Answer,
    Upstream,
    cut,
    digest_of,
    rest,
    whole,
)

CONTENT = bytes(range(256)) * 1000
DIGEST = digest_of(CONTENT)
BREAKS = ServiceUnavailable("it breaks off")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path, 10 * len(CONTENT))


def fetching(folder: Folder, *answers: Answer | Exception) -> tuple[Fetch, Upstream]:
    """Return a fetch, and who sends the blob."""
    upstream = Upstream(*answers)
    return Fetch(DIGEST, folder, upstream), upstream


def read(fetch: Fetch) -> bytes:
    """Return all that a reader gets."""
    content = b""
    while len(content) < fetch.size:
        length = fetch.wait(len(content)) - len(content)
        content += os.pread(fetch.fd, length, len(content))
    return content


def is_kept(folder: Folder) -> bool:
    """Return whether the blob is there, and nothing else."""
    assert not list((folder.path / "partial").iterdir())
    return folder.open(DIGEST) is not None


def test_blob_is_kept(folder: Folder) -> None:
    """And whoever comes late reads it from the file."""
    fetch, upstream = fetching(folder, whole(CONTENT))
    fetch.run()
    assert fetch.head.result(0)
    assert read(fetch) == CONTENT
    assert is_kept(folder)
    assert upstream.begins == [0]


def test_empty_blob(folder: Folder) -> None:
    """It is whole before anything came."""
    fetch = Fetch(digest_of(b""), folder, Upstream(whole(b"")))
    fetch.run()
    assert folder.open(digest_of(b""))


def test_reader_has_what_came(folder: Folder) -> None:
    """It need not wait for the end, but for that of the check (C1)."""
    gate, came = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        yield CONTENT[:-1]
        came.set()
        gate.wait(10)
        yield CONTENT[-1:]

    answer = Answer(pieces(), Content_Length=str(len(CONTENT)))
    fetch, _ = fetching(folder, answer)
    thread = threading.Thread(target=fetch.run)
    thread.start()
    assert came.wait(10)
    assert fetch.wait(0) == len(CONTENT) - HELD_LENGTH
    gate.set()
    assert fetch.wait(len(CONTENT) - HELD_LENGTH) == len(CONTENT)
    thread.join()


@pytest.mark.parametrize(
    "wrong",
    [CONTENT[:-1] + b"x", CONTENT[:-1], CONTENT + b"x", b"x" * len(CONTENT)],
    ids=["a byte", "too little", "too much", "all"],
)
def test_other_bytes_are_for_nobody(
    folder: Folder, wrong: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody gets them to the end, and they are not kept (C1)."""
    fetch, _ = fetching(folder, whole(wrong))
    fetch.run()
    assert fetch.wait(0) < len(CONTENT)
    with pytest.raises(Broken):
        read(fetch)
    assert not is_kept(folder)
    assert fetch.is_unfit
    assert f"what came for the blob {DIGEST} is something else" in caplog.text


def test_transfer_that_breaks_is_continued(folder: Folder) -> None:
    """From where it broke off, whether the server says so or just closes."""
    closed = Answer([CONTENT[:5000]], Content_Length=str(len(CONTENT)))
    fetch, upstream = fetching(
        folder,
        closed,
        Answer(
            [CONTENT[5000:9000], BREAKS],
            206,
            Content_Range=f"bytes 5000-{len(CONTENT) - 1}/{len(CONTENT)}",
        ),
        rest(CONTENT, 9000),
    )
    fetch.run()
    assert upstream.begins == [0, 5000, 9000]
    assert read(fetch) == CONTENT
    assert is_kept(folder)


@pytest.mark.parametrize(
    "second",
    [
        whole(CONTENT),
        rest(CONTENT, 6000),
        rest(CONTENT, 5000, len(CONTENT) + 1),
        Answer([CONTENT[5000:]], 206),
        Answer([], 403),
        RedirectRefused("elsewhere"),
    ],
    ids=["from the beginning", "from later on", "another", "any", "403", "elsewhere"],
)
def test_transfer_that_cannot_be_continued(
    folder: Folder, second: Answer | Exception
) -> None:
    """Readers are told, and nothing is put together that does not belong together."""
    fetch, _ = fetching(folder, cut(CONTENT, 5000), second)
    fetch.run()
    with pytest.raises(Broken):
        fetch.wait(5000)
    assert not is_kept(folder)


def test_server_that_breaks_for_ever_is_left(folder: Folder) -> None:
    """It is asked again a few times, as long as nothing comes."""
    pauses: list[float] = []
    upstream = Upstream(cut(CONTENT, 5000), *[BREAKS] * (RESUMES_MAX + 1))
    fetch = Fetch(DIGEST, folder, upstream, sleep=pauses.append)
    fetch.run()
    assert upstream.begins == [0] + [5000] * (RESUMES_MAX + 1)
    assert pauses == [0.2, 0.8, 3.2, 12.8]
    assert not is_kept(folder)


@pytest.mark.parametrize(
    "answer",
    [
        Answer([], 404),
        Answer([], 307, Location="https://elsewhere.example"),
        Answer([CONTENT], 206, Content_Range="bytes 0-1/2"),
        Answer([CONTENT]),
        Answer([CONTENT], Content_Length="many"),
        Answer([CONTENT], Content_Length="9" * 20),
        Answer([CONTENT], Content_Length="99", Content_Encoding="gzip"),
        BREAKS,
    ],
)
def test_answer_that_is_no_blob(folder: Folder, answer: Answer | Exception) -> None:
    """The client's own request goes upstream, and has the registry's words for it."""
    fetch, upstream = fetching(folder, answer)
    fetch.run()
    assert fetch.head.result(0) is False
    assert upstream.begins == [0]
    assert not is_kept(folder)


def test_blob_that_has_no_room(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes past the cache, and the log says why."""
    folder.kept.size_max = 10
    fetch, _ = fetching(folder, whole(CONTENT))
    fetch.run()
    assert fetch.head.result(0) is False
    assert fetch.is_unfit
    assert f"the blob {DIGEST} cannot be kept: it has {len(CONTENT)}" in caplog.text


def test_disk_that_fails_in_between(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers are told, and the log says why."""
    fetch, _ = fetching(folder, whole(CONTENT))
    write = os.pwrite

    def failing(fd: int, data: bytes, position: int) -> int:
        if position > 5000:
            raise OSError(5, "Input/output error")
        return write(fd, data, position)

    monkeypatch.setattr(os, "pwrite", failing)
    fetch.run()
    with pytest.raises(Broken):
        read(fetch)
    assert not is_kept(folder)
    assert "cannot be kept: Input/output error" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "has_reader", "is_whole"),
    [
        (DESERTED_SECONDS + 1, False, False),
        (DESERTED_SECONDS - 1, False, True),
        (DESERTED_SECONDS + 1, True, True),
    ],
)
def test_fetch_that_nobody_reads(
    folder: Folder, seconds: float, *, has_reader: bool, is_whole: bool
) -> None:
    """It goes on for a while: a client that lost its connection comes back (C3)."""
    now = [0.0]

    def pieces() -> Iterator[bytes]:
        yield CONTENT[:5000]
        now[0] += seconds
        yield CONTENT[5000:9000]
        yield CONTENT[9000:]

    answer = Answer(pieces(), Content_Length=str(len(CONTENT)))
    fetch = Fetch(DIGEST, folder, Upstream(answer), clock=lambda: now[0])
    fetch.enter()
    if not has_reader:
        fetch.leave()
    fetch.run()
    assert is_kept(folder) == is_whole


def test_wrong_blob_without_a_byte(folder: Folder) -> None:
    """That there is nothing to send is known only when it is known to be right."""
    fetch, _ = fetching(folder, whole(b""))
    fetch.run()
    with pytest.raises(Broken):
        fetch.wait(-1)


def test_fetch_that_gets_no_thread(folder: Folder) -> None:
    """Nobody waits for it."""
    fetch, _ = fetching(folder, whole(CONTENT))
    fetch.abandon(ServiceUnavailable("all threads are in use"))
    assert fetch.head.result(0) is False


def test_blob_that_is_right_and_cannot_be_moved(
    folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who reads it has all of it."""
    (tmp_path / "blobs" / "sha256" / DIGEST.partition(":")[2]).mkdir()
    fetch, _ = fetching(folder, whole(CONTENT))
    fetch.run()
    assert read(fetch) == CONTENT
    assert "cannot be kept: Is a directory" in caplog.text
