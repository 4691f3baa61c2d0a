"""Output that cannot be written holds nobody up, and is counted."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mitm.output import UNREAD, Output
from tests.integration.tool import wait_until

PIPE_SIZE = 4096
LINE = b"a line of the log\n"
DROPPED = "lines of the log were dropped"


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe that holds little; yield the end to read, and the one to write."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


def drops(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log said of dropped lines."""
    return [text for text in caplog.messages if DROPPED in text]


def test_lines_are_written_in_order(tmp_path: Path) -> None:
    """What was written before the end is there after it."""
    path = tmp_path / "log"
    lines = [b"%d\n" % number for number in range(1000)]
    with path.open("wb") as file:
        output = Output(file.fileno())
        for line in lines:
            output.write(line)
        output.finish()
    assert path.read_bytes() == b"".join(lines)
    assert output.dropped == 0


def test_pipe_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever writes goes on; what is too much is counted, and said to the reader."""
    with pipe() as (read, write):
        output = Output(write, length_max=10 * len(LINE))
        fitting = PIPE_SIZE // len(LINE)
        for _ in range(fitting + 100):
            output.write(LINE)
        assert output.dropped > 0
        dropped, kept = output.dropped, fitting + 100 - output.dropped
        received = b""
        while received.count(b"\n") < kept:
            received += os.read(read, PIPE_SIZE)
        output.finish()
    assert received == LINE * kept
    assert drops(caplog) == [f"{dropped} {DROPPED}: {UNREAD}"]


def test_what_waits_is_bounded_in_bytes() -> None:
    """A few lines that are very long take no more memory than many short ones."""
    with pipe() as (read, write):
        output = Output(write, length_max=1 << 16)
        for _ in range(100):
            output.write(b"x" * (1 << 12) + b"\n")
        assert output._left <= 1 << 16
        assert output.dropped >= 80
        os.set_blocking(read, False)


def test_disk_that_is_full_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What could not be written is said, with the reason, once something can be."""
    path = tmp_path / "log"
    with Path("/dev/full").open("wb", buffering=0) as file:
        output = Output(file.fileno())
        for _ in range(3):
            output.write(LINE)
        wait_until(lambda: output.dropped == 3, "three lines that are dropped")
        assert not drops(caplog)
        with path.open("wb") as room:
            os.dup2(room.fileno(), file.fileno())
        output.write(LINE)
        output.finish()
    assert drops(caplog) == [f"3 {DROPPED}: No space left on device"]
    assert path.read_bytes() == LINE


def test_pipe_whose_reader_is_gone() -> None:
    """It is like a disk that stays full."""
    with pipe() as (read, write):
        gone = os.dup(write)
        os.dup2(os.open(os.devnull, os.O_RDONLY), read)
        output = Output(gone)
        output.write(LINE)
        output.write(LINE)
        output.finish()
        os.close(gone)
    assert output.dropped == 2


def test_line_that_was_cut_off_stays_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full in the middle of a line, and the next begins a new one."""
    written = os.write
    replies = iter([4, OSError(28, "No space left on device")])

    def write(descriptor: int, data: bytes) -> int:
        match next(replies, None):
            case int() as length:
                return written(descriptor, data[:length])
            case OSError() as error:
                raise error
            case _:
                return written(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    path = tmp_path / "log"
    with path.open("wb") as file:
        output = Output(file.fileno())
        output.write(LINE)
        output.write(LINE)
        output.finish()
    assert path.read_bytes() == LINE[:4] + b"\n" + LINE
