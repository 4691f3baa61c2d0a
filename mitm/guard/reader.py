"""Readers that limit how long, and to how much, mitmproxy listens.

mitmproxy itself takes a request's head of any length, however slowly it comes, and
waits ten minutes for a registry that says nothing. The readers here stand between a
connection and mitmproxy; what they give up looks to it like a connection that was
closed at the other end.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from mitm.guard.hello import HANDSHAKE, is_whole
from resolver import errors

logger = logging.getLogger(__name__)

REQUEST_LENGTH_MAX = 64 << 10
"""Bytes of a request with all its headers; tokens of 8 kB are the longest in use."""
READ_LENGTH_MAX = 3 * REQUEST_LENGTH_MAX
"""Bytes that are read for one: a piece more than it may have, a handshake of TLS, and
a record of which the end is missing."""
HELLO_SECONDS = 10
"""How long a ClientHello may take, from its first byte on: clients send it at once."""
HEAD_LENGTH_MAX = 256 << 10
"""Bytes of the head of a registry's answer."""
HOOK_TURNS = 50
"""Turns of the event loop, in which what is there has passed the hook of its head."""
LINGER_SECONDS = 5
LINGER_LENGTH_MAX = 16 << 20
"""For how long, and for how many bytes, a client is heard out that was answered early.

A connection that is closed with something unread is reset, and the answer may be lost.
"""
PIECE_LENGTH = 256 << 10
"""Bytes of a stream that are read at once: as many as asyncio takes from a socket."""
KEPT_SECONDS = 4
"""How long a connection is kept for another request. Servers close theirs after 5
seconds (Node.js) or 75 (nginx), and a request that is on its way then is lost."""
REGISTRY = "the registry"
"""Who is listened to, in the log."""


class Reader(Protocol):
    """What mitmproxy reads from: an `asyncio.StreamReader`."""

    async def read(self, n: int, /) -> bytes:
        """Return what there is, waiting for it; nothing at the end."""


class LimitedReader:
    """Reads until its time is over, or more came than is allowed.

    Either raises an OSError, as a broken connection does.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._deadline: float | None = None
        self._timeout: asyncio.Timeout | None = None
        self.is_reset = False
        """Whether the other end broke the connection instead of closing it."""

    async def read(self, size: int) -> bytes:
        """Return what there is, waiting for it; nothing at the end.

        Raises:
            OSError: the time is over, or too much came.

        """
        while True:
            try:
                async with asyncio.timeout_at(self._deadline) as self._timeout:
                    data = await self._reader.read(size)
            except TimeoutError:
                if self._is_postponed():
                    continue
                self._expired()
                raise
            except ConnectionResetError:
                self.is_reset = True
                raise
            self._received(len(data))
            return data

    def wait(self, seconds: float | None) -> None:
        """Wait so long from now on, or for ever; a read that waits already as well."""
        now = asyncio.get_running_loop().time()
        self._deadline = None if seconds is None else now + seconds
        if self._timeout is None or self._deadline is None:
            return
        expiry = self._timeout.when()
        # A time that only gets longer is looked at when the shorter one is over.
        if expiry is None or self._deadline < expiry:
            with suppress(RuntimeError):  # There is none at work, or it is over.
                self._timeout.reschedule(self._deadline)

    def _is_postponed(self) -> bool:
        """Return whether the time was made longer while it was waited."""
        now = asyncio.get_running_loop().time()
        return self._deadline is None or self._deadline > now

    def _expired(self) -> None:
        """Say that the time is over."""

    def _received(self, length: int) -> None:
        """Take note of what came, and raise an OSError where it is too much."""


class RequestReader(LimitedReader):
    """Listens to a client: each request has to be there whole within its time.

    How long one may be `mitm.guard.parting` sees; here is an end to what it never gets
    to see, and to what TLS adds.
    """

    def __init__(
        self,
        reader: Reader,
        client: object,
        *,
        idle_seconds: int,
        request_seconds: int,
        speaks_tls: bool = False,
    ) -> None:
        super().__init__(reader)
        self._client = client
        self._idle_seconds = idle_seconds
        self._request_seconds = request_seconds
        self._hello_seconds = min(HELLO_SECONDS, request_seconds)
        self._may_greet = speaks_tls
        """Whether what comes first may be a ClientHello."""
        self._is_greeting = False
        self._is_counted = True
        self._is_lingering = False
        self.farewell: errors.RegistryError | None = None
        """The answer after which the connection ends; None as long as it goes on."""
        self.expect_request()

    async def read(self, size: int) -> bytes:
        """Return what there is; of a client that was answered already nothing."""
        data = await super().read(size)
        if self._may_greet:
            self._may_greet = False
            if data.startswith(HANDSHAKE):
                data = await self._read_hello(data)
        while self._is_lingering and data:
            data = await super().read(size)
        if self._left < READ_LENGTH_MAX - REQUEST_LENGTH_MAX:
            # Much may be there at once; let mitmproxy see what it has, and a hook judge
            # it, before there is more of it.
            for _ in range(HOOK_TURNS):
                await asyncio.sleep(0)
        return data

    def expect_request(self) -> None:
        """Wait for the next request: for its beginning, and from there for its end."""
        if self._is_lingering:
            return
        self._is_begun = False
        self._left = READ_LENGTH_MAX
        self.wait(self._idle_seconds)

    def answer_request(self, *, is_multiplexed: bool) -> None:
        """Notice only that the client goes away, while its request is answered.

        What it sends meanwhile is held by mitmproxy until the answer is out, so there
        is an end to that too. In HTTP/2, which has limits of its own, frames come
        all the time.
        """
        self._is_counted = not is_multiplexed
        self._left = READ_LENGTH_MAX
        self.wait(None)

    def linger(self) -> None:
        """Hear the client out, who has the farewell, and listen to nothing of it."""
        self._is_lingering = self._is_begun = True
        self._left = LINGER_LENGTH_MAX
        self.wait(LINGER_SECONDS)

    def warn_of_length(self) -> None:
        """Say that a request is too long."""
        self._warn(f"a request of more than {REQUEST_LENGTH_MAX} bytes")

    async def _read_hello(self, begun: bytes) -> bytes:
        """Return a ClientHello to its end; nothing where the client ends before."""
        hello = bytearray(begun)
        self._is_greeting = True
        self.wait(self._hello_seconds)
        try:
            while not is_whole(hello):
                more = await super().read(READ_LENGTH_MAX)
                if not more:
                    return b""
                hello += more
        except ValueError as error:
            self._warn(str(error))
            raise ConnectionAbortedError(str(error)) from error
        self._is_greeting = False
        self.wait(self._request_seconds)
        return bytes(hello)

    def _received(self, length: int) -> None:
        if not self._is_begun:
            self._is_begun = True
            if self._deadline is not None:
                self.wait(self._request_seconds)
        self._left -= length
        if self._is_counted and self._left < 0:
            if self.farewell is None:
                self.warn_of_length()
            raise ConnectionAbortedError("the request is too long")

    def _expired(self) -> None:
        if self._is_greeting:
            self._warn(f"a ClientHello that is not whole after {self._hello_seconds} s")
        elif self._is_begun and self.farewell is None:
            self._warn(f"a request that is not whole after {self._request_seconds} s")
            self.farewell = errors.RequestUnfinished(
                f"the request is not whole after {self._request_seconds} s; send it"
                " again"
            )

    def _warn(self, reason: str) -> None:
        logger.warning("%s: connection closed", reason, extra={"client": self._client})


@dataclass(slots=True)
class Traffic:
    """What came from the registry through all readers."""

    streamed: int = 0
    """Bytes of answers that are not held; their heads are among them."""


class AnswerReader(LimitedReader):
    """Listens to the registry, which has so long for an answer and no longer.

    What the proxy holds, the head and perhaps the body, has to be there as a whole in
    time. What it streams may take for ever, as long as more comes; mitmproxy reads
    only while the client takes it, so a slow client makes no silent registry.
    The time between two requests is limited as well, to less than the other end keeps
    a connection: the one who closes first knows that no request is on its way.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        seconds: int,
        traffic: Traffic | None = None,
        peer: str = REGISTRY,
        piece_length: int = PIECE_LENGTH,
    ) -> None:
        super().__init__(reader)
        self._piece_length = piece_length
        self.peer = peer
        self.seconds = seconds
        """For how long it may be silent."""
        self._traffic = traffic or Traffic()
        self._left: int | None = HEAD_LENGTH_MAX
        self.is_expired = False
        """Whether the registry was silent for too long, with a request to answer."""
        self.is_kept = False
        """Whether there was an answer before."""
        self.expect_head()

    async def read(self, size: int) -> bytes:
        """Return what there is; of what is streamed a larger piece than was asked for.

        What mitmproxy does with a piece costs the same whatever its size.
        """
        return await super().read(self._piece_length if self._left is None else size)

    def expect_head(self) -> None:
        """Wait for an answer from now on."""
        self.is_awaited = True
        self.taken = 0
        """Bytes of the answer that came, its head included."""
        self.wait(self.seconds)

    def expect_body(self, length: int | None) -> None:
        """Take so many bytes from now on, in time; or any number, however long."""
        self._left = length
        if length is None:
            self._traffic.streamed += self.taken
        self.wait(self.seconds)

    def give_up(self) -> None:
        """Take what came for all that comes, as if the other end had closed."""
        self.is_awaited = False
        self.wait(0)

    def end_answer(self) -> None:
        """Expect nothing, and be ready for the head of another answer."""
        self.is_awaited = False
        self.is_kept = True
        self._left = HEAD_LENGTH_MAX
        self.wait(min(KEPT_SECONDS, self.seconds))

    def _received(self, length: int) -> None:
        self.taken += length
        if self._left is None:
            self._traffic.streamed += length
            self.wait(self.seconds)
            return
        self._left -= length
        if self._left < 0:
            logger.warning("an answer of %s is too long to be held", self.peer)
            raise ConnectionAbortedError("the answer is too long")

    def _expired(self) -> None:
        if self.is_awaited:
            self.is_expired = True
            how = (
                "stopped in the middle of an answer, and sent no more for"
                if self.taken
                else "did not answer within"
            )
            logger.warning(
                "%s %s %d s: connection closed", self.peer, how, self.seconds
            )
