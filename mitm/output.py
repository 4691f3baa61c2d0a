"""Standard output and error that neither hold up nor end what writes to them.

What can be written without waiting is written at once; for the rest each has a thread.
What nobody reads in time, and what cannot be written, is dropped and counted, and the
log says so once there is room again. mitmproxy prints its log by itself: it would wait
for a pipe that nobody reads, and with it every client, and a full disk would end it.
"""

import atexit
import io
import logging
import os
import select
import stat
import sys
import threading
from collections.abc import Buffer
from queue import SimpleQueue

logger = logging.getLogger(__name__)

LENGTH_MAX = 1 << 20
"""Bytes that wait to be written: the log of some minutes."""
FINISH_SECONDS = 2
"""How long the end waits for what is still to be written."""
UNREAD = "nobody reads them"


class Output(io.RawIOBase):
    """A file that is written to by a thread; whoever writes goes on at once."""

    def __init__(self, descriptor: int, length_max: int = LENGTH_MAX) -> None:
        super().__init__()
        self.dropped = 0
        """Lines, since the start."""
        self.name = descriptor
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._length_max = length_max
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._lock = threading.RLock()
        self._left = 0
        """Bytes that the thread has not written yet."""
        self._unsaid = 0
        self._reason = ""
        self._is_torn = False
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def writable(self) -> bool:
        """Return that it is a file to write to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, by which terminals are known."""
        return self.name

    def isatty(self) -> bool:
        """Return whether it is a terminal, and shows colours."""
        return os.isatty(self.name)

    def write(self, data: Buffer, /) -> int:
        """Write it, or have it written where that could take time, if there is room."""
        piece = bytes(data)
        # What the thread itself says of dropped lines has its place in any case.
        is_own = threading.current_thread() is self._thread
        with self._lock:
            if not (self._left or self._unsaid) and self._takes(piece):
                self._put(piece)
            elif is_own or self._left + len(piece) <= self._length_max:
                self._left += len(piece)
                self._pieces.put(piece)
            else:
                self._drop(piece, UNREAD)
        return len(piece)

    def finish(self) -> None:
        """Write what is left, as far as that is possible in short time."""
        self._pieces.put(None)
        self._thread.join(FINISH_SECONDS)

    def _takes(self, piece: bytes) -> bool:
        """Return whether it can be written without waiting for who reads it."""
        if self._is_file:
            return True
        return len(piece) <= select.PIPE_BUF and self._room.poll(0) == [
            (self.name, select.POLLOUT)
        ]

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            is_written = self._put(piece)
            with self._lock:
                self._left -= len(piece)
            if is_written:
                self._say_what_was_dropped()

    def _put(self, piece: bytes) -> bool:
        try:
            self._write(piece)
        except OSError as error:
            self._drop(piece, error.strerror or str(error))
            return False
        return True

    def _write(self, piece: bytes) -> None:
        rest = memoryview(b"\n" + piece if self._is_torn else piece)
        while rest:
            rest = rest[os.write(self.name, rest) :]
            self._is_torn = bool(rest)

    def _drop(self, piece: bytes, reason: str) -> None:
        with self._lock:
            lines = piece.count(b"\n")
            self.dropped += lines
            self._unsaid += lines
            self._reason = reason

    def _say_what_was_dropped(self) -> None:
        """Log it, unless more is likely to be dropped in a moment."""
        if not self._unsaid or self._left > self._length_max // 2:
            return
        with self._lock:
            lines, self._unsaid = self._unsaid, 0
        logger.warning("%d lines of the log were dropped: %s", lines, self._reason)


_outputs: list[Output] = []


def guard() -> None:
    """Let standard output and error be of this kind, for the rest of the process."""
    if _outputs:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    # Two that are the same file share a thread, and their lines keep their order.
    is_one = os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    sys.stdout = _open(sys.stdout.fileno())
    sys.stderr = sys.stdout if is_one else _open(sys.stderr.fileno())


def dropped_lines() -> int:
    """Return how many lines were dropped since the start."""
    return sum(output.dropped for output in _outputs)


def _open(descriptor: int) -> io.TextIOWrapper:
    output = Output(descriptor)
    _outputs.append(output)
    atexit.register(output.finish)
    # A line at a time; not in blocks, and with any character whatever the locale.
    return io.TextIOWrapper(
        output, "utf-8", errors="backslashreplace", line_buffering=True
    )
