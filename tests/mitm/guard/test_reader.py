"""How long and how much is read, on a loop whose time stands still until it is told."""

import asyncio
import logging
import selectors
from collections.abc import Coroutine

import pytest

from mitm.guard.reader import (
    HEAD_LENGTH_MAX,
    HELLO_SECONDS,
    KEPT_SECONDS,
    LINGER_LENGTH_MAX,
    LINGER_SECONDS,
    READ_LENGTH_MAX,
    AnswerReader,
    LimitedReader,
    RequestReader,
)
from resolver import errors

IDLE, REQUEST, ANSWER = 120, 30, 10
NEVER = 1e6
HELLO = b"\x16\3\1\0\x64\1\0\0\x60" + bytes(0x60)
"""A ClientHello by its length."""


class Selector(selectors.DefaultSelector):
    """Lets time pass where a loop would wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what happened; if nothing did, it is later now."""
        events = super().select(0)
        if not events:
            self.now += timeout or 0
        return events


class Loop(asyncio.SelectorEventLoop):
    """An event loop on which nobody waits."""

    def __init__(self) -> None:
        self._passing = Selector()
        super().__init__(self._passing)

    def time(self) -> float:
        """Return the seconds that would have been waited for."""
        return self._passing.now


class Stream:
    """What mitmproxy would read from: pieces that come after so many seconds."""

    def __init__(self, *pieces: tuple[float, int | bytes]) -> None:
        self._pieces = iter(pieces)

    async def read(self, _: int, /) -> bytes:
        """Return the next piece once it is there; after the last one there is none."""
        seconds, piece = next(self._pieces, (NEVER, 0))
        await asyncio.sleep(seconds)
        return bytes(piece)


def run[R](steps: Coroutine[object, object, R]) -> tuple[R, float]:
    """Return what the steps return, and the time that passed."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        result = runner.run(steps)
        return result, runner.get_loop().time()


async def read_all(reader: LimitedReader) -> list[int]:
    """Return the lengths of what was read until the reader gave up."""
    lengths = []
    while True:
        try:
            lengths.append(len(await reader.read(65535)))
        except OSError:
            return lengths


def request_reader(*pieces: tuple[float, int]) -> RequestReader:
    """Return a reader of a client that sends those pieces."""
    stream = Stream(*pieces)
    return RequestReader(stream, "c", idle_seconds=IDLE, request_seconds=REQUEST)


@pytest.mark.parametrize(
    ("pieces", "read", "seconds", "said"),
    [
        ([], [], IDLE, False),
        ([(IDLE - 1, 1)], [1], IDLE - 1 + REQUEST, True),
        ([(0, 1)], [1], REQUEST, True),
        ([(0, 1), (20, 1), (9, 1), (20, 1)], [1, 1, 1], REQUEST, True),
        ([(0, READ_LENGTH_MAX)], [READ_LENGTH_MAX], REQUEST, True),
        ([(0, READ_LENGTH_MAX), (1, 1)], [READ_LENGTH_MAX], 1, True),
    ],
    ids=["nothing", "late", "a byte", "a trickle", "long", "too long"],
)
def test_request(
    caplog: pytest.LogCaptureFixture,
    pieces: list[tuple[float, int]],
    read: list[int],
    seconds: float,
    *,
    said: bool,
) -> None:
    """A request has its time from the first byte on, and a length; idleness has one."""

    async def steps() -> list[int]:
        return await read_all(request_reader(*pieces))

    assert run(steps()) == (read, seconds)
    assert bool(caplog.records) == said


def greeting_reader(
    *pieces: tuple[float, bytes], request_seconds: int = REQUEST
) -> RequestReader:
    """Return a reader of a client that may begin with a TLS handshake."""
    return RequestReader(
        Stream(*pieces),
        "c",
        idle_seconds=IDLE,
        request_seconds=request_seconds,
        speaks_tls=True,
    )


@pytest.mark.parametrize("rest", [b"", b"more"])
def test_hello_is_read_at_once(rest: bytes) -> None:
    """However slowly it comes, mitmproxy sees it in one piece; then all as it comes."""
    pieces = [(0.01, HELLO[at : at + 1]) for at in range(len(HELLO) - 1)]

    async def steps() -> list[int]:
        reader = greeting_reader(*pieces, (0.01, HELLO[-1:] + rest), (1, b"next"))
        return await read_all(reader)

    lengths, seconds = run(steps())
    assert lengths == [len(HELLO) + len(rest), 4]
    assert seconds == pytest.approx(len(HELLO) / 100 + REQUEST)


@pytest.mark.parametrize(
    ("pieces", "seconds", "said"),
    [
        ([(0, b"\x16")], HELLO_SECONDS, "not whole after 10 s"),
        (
            [(0, HELLO[:20]), (9, b"x"), (9, b"x")],
            HELLO_SECONDS,
            "not whole after 10 s",
        ),
        ([(0, b"\x16\3\1\0\4\1\xff\xff\xff")], 0, "more than 16384 bytes"),
        ([(0, b"\x16\3"), (1, b"GET / HTTP")], 1, "cannot be read"),
    ],
)
def test_hello_that_does_not_come(
    caplog: pytest.LogCaptureFixture,
    pieces: list[tuple[float, bytes]],
    seconds: float,
    said: str,
) -> None:
    """Of half a hello mitmproxy sees nothing, and it has a time of its own (T8)."""

    async def steps() -> list[int]:
        return await read_all(greeting_reader(*pieces))

    assert run(steps()) == ([], seconds)
    (record,) = caplog.records
    assert said in record.getMessage()


def test_hello_has_no_longer_than_a_request(caplog: pytest.LogCaptureFixture) -> None:
    """Where requests have less time, a hello has no more."""

    async def steps() -> list[int]:
        return await read_all(greeting_reader((0, HELLO[:9]), request_seconds=2))

    assert run(steps()) == ([], 2)
    assert "not whole after 2 s" in caplog.text


def test_client_that_ends_within_its_hello() -> None:
    """It is gone, and nothing came of it."""

    async def steps() -> bytes:
        return await greeting_reader((0, HELLO[:9]), (0, b"")).read(65535)

    assert run(steps()) == (b"", 0)


@pytest.mark.parametrize("is_multiplexed", [False, True])
def test_answering(*, is_multiplexed: bool) -> None:
    """While a request is answered there is time, and for HTTP/2 no length."""
    long = READ_LENGTH_MAX + 1

    async def steps() -> list[int]:
        reader = request_reader((0, 1), (10_000, long), (0, 1))
        lengths = [len(await reader.read(1))]
        reader.answer_request(is_multiplexed=is_multiplexed)
        try:
            lengths.append(len(await reader.read(1)))
        except OSError:
            return lengths
        reader.expect_request()
        return lengths + await read_all(reader)

    assert run(steps()) == (
        ([1, long, 1], 10_000 + REQUEST) if is_multiplexed else ([1], 10_000)
    )


@pytest.mark.parametrize(
    ("pieces", "seconds"),
    [
        ([(0, 1)] * 3, LINGER_SECONDS),
        ([(1, 1)] * 100, LINGER_SECONDS),
        ([(1, LINGER_LENGTH_MAX), (1, 1)], 2),
    ],
    ids=["silent", "a trickle", "too long"],
)
def test_lingering(pieces: list[tuple[float, int]], seconds: float) -> None:
    """Who has the last answer is heard out for a while, and nothing of it is taken."""

    async def steps() -> list[int]:
        reader = request_reader(*pieces)
        reader.farewell = errors.BodyTooLong("too long")
        reader.linger()
        reader.expect_request()  # As when its flow ends.
        return await read_all(reader)

    assert run(steps()) == ([], seconds)


def test_slow_request_has_a_farewell() -> None:
    """A client whose request is not whole in time is told so; an idle one is not."""

    async def steps(*pieces: tuple[float, int]) -> bool:
        reader = request_reader(*pieces)
        await read_all(reader)
        return reader.farewell is not None

    assert run(steps((0, 1))) == (True, REQUEST)
    assert run(steps()) == (False, IDLE)


def test_waiting_read_gets_the_new_time() -> None:
    """A read that waits already ends when it is told, not when it was to end."""

    async def steps() -> bool:
        reader = request_reader()
        reading = asyncio.create_task(read_all(reader))
        await asyncio.sleep(0)
        reader.wait(1)
        await reading
        return True

    assert run(steps()) == (True, 1)


def answer_reader(*pieces: tuple[float, int]) -> AnswerReader:
    """Return a reader of a registry that sends those pieces."""
    return AnswerReader(Stream(*pieces), seconds=ANSWER)


@pytest.mark.parametrize(
    ("pieces", "read", "seconds", "said"),
    [
        ([], [], ANSWER, "did not answer within 10 s: connection closed"),
        ([(6, 1), (6, 1)], [1], ANSWER, "stopped in the middle of an answer, and sent"),
        ([(0, HEAD_LENGTH_MAX), (0, 1)], [HEAD_LENGTH_MAX], 0, "too long to be held"),
    ],
    ids=["silence", "a trickle", "too long"],
)
def test_head(
    caplog: pytest.LogCaptureFixture,
    pieces: list[tuple[float, int]],
    read: list[int],
    seconds: float,
    said: str,
) -> None:
    """The head of an answer has to be there in time, and has a length."""

    async def steps() -> list[int]:
        return await read_all(answer_reader(*pieces))

    assert run(steps()) == (read, seconds)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert said in record.getMessage()


@pytest.mark.parametrize(
    ("length", "read", "seconds"),
    [(None, [9, 9, 9, 9], 34.0), (100, [9, 9], 18.0), (8, [9], 16.0)],
    ids=["streamed", "held", "too long"],
)
def test_body(length: int | None, read: list[int], seconds: float) -> None:
    """A streamed body takes as long as it takes; one that is held has its time."""

    async def steps() -> list[int]:
        reader = answer_reader((8, 9), *[(8.0, 9)] * 2, (0, 9))
        head = await reader.read(1)
        reader.expect_body(length)
        return [len(head), *await read_all(reader)]

    assert run(steps()) == (read, seconds)


def test_silence_between_two_answers_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A connection that nobody uses is closed before its other end would, quietly."""

    async def steps() -> list[int]:
        reader = answer_reader((0, 1), (5, 1))
        await reader.read(1)
        reader.expect_body(None)
        await reader.read(1)
        reader.end_answer()
        return await read_all(reader)

    assert run(steps()) == ([], 5 + KEPT_SECONDS)
    assert not caplog.records


def test_answer_that_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """What came is all that comes, at once and without a word."""

    async def steps() -> list[int]:
        reader = AnswerReader(Stream((0, 5), (1000, 5)), seconds=60)
        reader.expect_body(10)
        first = len(await reader.read(10))
        reading = asyncio.create_task(read_all(reader))
        await asyncio.sleep(1)
        reader.give_up()
        return [first, *await reading]

    assert run(steps()) == ([5], 1)
    assert not caplog.records
