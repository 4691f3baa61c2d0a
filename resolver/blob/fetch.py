"""One fetch of a blob, for all who want it at the same time (rule C3).

It writes what comes to the folder, in a thread of its own, and others read from there
what has come so far: none is slowed by another, and who leaves takes nothing along. The
last piece is held back until all bytes were checked, so nobody ever gets a whole blob
that is not what its digest says. Where the transfer breaks it goes on from there.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from http import HTTPStatus
from threading import Condition
from typing import Protocol

from resolver.blob.folder import Damaged, Folder, Partial
from resolver.errors import RedirectRefused, RegistryError, ServiceUnavailable
from resolver.grammar.reference import Digest
from resolver.symptom import Seen, Symptom

logger = logging.getLogger(__name__)

HELD_LENGTH = 64 << 10
"""Bytes at the end that wait for the check; so all of a small blob do."""
DESERTED_SECONDS = 30
"""How long a fetch goes on that nobody reads: a client that lost its connection is
back by then."""
RESUMES_MAX = 4
"""How often it is tried in vain to continue a transfer."""
BACKOFF = 0.2
"""Seconds after the first time; after each later one four times as many."""
_CUT, _DAMAGED = Seen(Symptom.CUT), Seen(Symptom.DAMAGED)
_LENGTH = re.compile(r"[0-9]{1,19}")
_RANGE = re.compile(r"bytes (?P<begin>[0-9]{1,19})-[0-9]{1,19}/(?P<size>[0-9]{1,19})")


class Broken(Exception):
    """No more of a blob comes."""


class Unfit(Broken):
    """No fetch of the blob can be shared, as it is sent."""


class Answer(Protocol):
    """An answer to a GET, whose body comes in pieces: a `transport.Opened`."""

    status: int
    headers: Mapping[str, str]

    def read(self) -> bytes:
        """Return the next piece; nothing at the end, or where it is cut.

        Raises:
            ServiceUnavailable: no more can be read, or none came in time.

        """


class Source(Protocol):
    """Opens a blob upstream, from a byte on."""

    def __call__(self, begin: int) -> AbstractContextManager[Answer]:
        """Return the answer; raises a `RegistryError` where there is none."""


class Fetch:
    """A blob that is being fetched."""

    def __init__(
        self,
        digest: Digest,
        folder: Folder,
        source: Source,
        *,
        blame: Callable[[RegistryError], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Fetch nothing yet: that is for `run`.

        Args:
            digest: of the blob.
            folder: where it is kept.
            source: opens it.
            blame: says of an error which server is at fault.
            clock: in seconds.
            sleep: waits for so many.

        """
        self.digest = digest
        self.head: Future[bool] = Future()
        """Whether others can read it. Where they cannot, the client's own request shows
        why: it goes upstream as if there were no cache."""
        self.size = 0
        self.error: RegistryError | None = None
        """Why no more of it comes, where registry or storage are to blame."""
        self.is_unfit = False
        """Whether another fetch would come to nothing as well."""
        self._folder = folder
        self._source = source
        self._blame = blame
        self._clock = clock
        self._sleep = sleep
        self._changed = Condition()
        self._received = 0
        self._is_over = False
        self._is_accepted = False
        self._readers = 0
        self._deserted = clock()
        self._partial: Partial

    @property
    def received(self) -> int:
        """How many bytes have come."""
        return self._received

    @property
    def fd(self) -> int:
        """The file that the bytes are in, which is open as long as this is there."""
        return self._partial.fd

    def run(self) -> None:
        """Fetch it. Blocks to the end."""
        try:
            self._run()
        except Damaged:
            self.is_unfit = True
            self._fail(ServiceUnavailable("what came is something else"), _DAMAGED)
            logger.error(  # noqa: TRY400 - there is nothing else to know
                "what came for the blob %s is something else: nobody gets it whole,"
                " and it is not kept",
                self.digest,
            )
        except Broken as error:
            self.is_unfit = isinstance(error, Unfit)
            logger.info("the blob %s is not kept: %s", self.digest, error)
        except RegistryError as error:
            reason = error.explanation or error
            logger.warning("the blob %s is not kept: %s", self.digest, reason)
            self._fail(error, error.seen)
        except OSError as error:
            self.is_unfit = True
            cause = error.strerror or str(error)
            logger.warning("the blob %s cannot be kept: %s", self.digest, cause)
        except Exception:
            self.is_unfit = True
            logger.exception("a bug of this proxy")
        finally:
            self._end()

    def _fail(self, error: RegistryError, seen: Seen) -> None:
        error.seen = seen
        self._blame(error)
        self.error = error

    def abandon(self, error: ServiceUnavailable) -> None:
        """Give it up before it began."""
        logger.warning("the blob %s is not kept: %s", self.digest, error.in_log)
        self._end()

    def enter(self) -> None:
        """Take note that somebody is going to read it."""
        with self._changed:
            self._readers += 1

    def leave(self) -> None:
        """Take note that somebody does so no longer."""
        with self._changed:
            self._readers -= 1
            self._deserted = self._clock()

    def wait(self, position: int) -> int:
        """Return how many bytes can be read, which is more than the position. Blocks.

        Raises:
            Broken: no more of them come.

        """
        with self._changed:
            while (length := self._readable) <= position:
                if self._is_over:
                    raise Broken
                self._changed.wait()
            return length

    @property
    def _readable(self) -> int:
        if self._is_accepted:
            return self.size
        return min(self._received, self.size - HELD_LENGTH)

    def _run(self) -> None:
        """Receive the blob, and let it be served."""
        failures = 0
        while True:
            before = self._received
            try:
                self._receive()
                break
            except ServiceUnavailable as error:
                failures = 0 if self._received > before else failures + 1
                is_refused = isinstance(error, RedirectRefused)
                if not self.head.done() or is_refused or failures > RESUMES_MAX:
                    raise
                logger.info(
                    "the blob %s breaks off after %d bytes, and is continued: %s",
                    self.digest,
                    self._received,
                    error.explanation or error,
                )
            if failures:
                self._sleep(BACKOFF * 4 ** (failures - 1))
        try:
            self._partial.accept()
        except OSError:
            # It is right, so its readers have it, though nobody will after them.
            self._accept()
            raise
        self._accept()

    def _accept(self) -> None:
        with self._changed:
            self._is_accepted = True

    def _receive(self) -> None:
        """Receive the blob from where it broke off.

        Raises:
            Broken: it cannot be continued, or nobody wants it.
            ServiceUnavailable: it breaks.

        """
        with self._source(self._received) as opened:
            size = _size(opened, self._received)
            if not self.head.done():
                self._partial = self._folder.begin(self.digest, size)
                self.size = size
                self.head.set_result(True)
            elif size != self.size:
                raise Broken("its length changes")
            while self._received < self.size:
                if self._is_deserted:
                    raise Broken("nobody waits for it any more")
                piece = opened.read()
                if not piece:
                    cut = ServiceUnavailable("the connection is closed within it")
                    cut.seen = _CUT
                    raise cut
                self._partial.write(piece)
                with self._changed:
                    self._received += len(piece)
                    self._changed.notify_all()

    @property
    def _is_deserted(self) -> bool:
        now = self._clock()
        return not self._readers and now - self._deserted > DESERTED_SECONDS

    def _end(self) -> None:
        if not self.head.done():
            self.head.set_result(False)
        else:
            self._partial.end()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()


def _size(opened: Answer, begin: int) -> int:
    """Return the length of the whole blob, of which the answer has the rest.

    Raises:
        Broken: the answer is another one.
        Unfit: it does not say so, or not of the blob itself.

    """
    headers = opened.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise Unfit("it is packed on its way")
    match = _LENGTH.fullmatch(headers.get("Content-Length", ""))
    if begin == 0 and opened.status == HTTPStatus.OK:
        if match is None:
            raise Unfit("it comes without its length")
        return int(match[0])
    match = _RANGE.fullmatch(headers.get("Content-Range", ""))
    is_part = opened.status == HTTPStatus.PARTIAL_CONTENT
    if begin and is_part and match and int(match["begin"]) == begin:
        return int(match["size"])
    raise Broken(f"it is answered with status {opened.status}")
