"""Lines of the log have date and level, or what the journal wants in their place."""

import logging
import os
import re
import sys

import pytest

from mitm.story.log_format import JournalFormatter, TextFormatter, is_journal


def record(
    level: int, *, client: object = None, fails: bool = False
) -> logging.LogRecord:
    """Return a record as loggers make it."""
    error = None
    try:
        int("bad" if fails else "1")
    except ValueError:
        error = sys.exc_info()
    made = logging.LogRecord("x", level, __file__, 1, "%d is %s", (1, "one"), error)
    made.client = client
    return made


CLIENT = ("192.0.2.7", 48254)


def test_text_has_date_level_and_client() -> None:
    """Lines of one level stand below each other, and grep finds a level."""
    plain = TextFormatter(has_colours=False)
    line = plain.format(record(logging.INFO, client=CLIENT))
    date = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(rf"{date} INFO    \[192\.0\.2\.7:48254\] 1 is one", line)
    line = plain.format(record(logging.WARNING))
    assert re.fullmatch(rf"{date} WARNING 1 is one", line)


def test_terminal_has_colours() -> None:
    """They go around what they are about, so the words stay as they are."""
    line = TextFormatter(has_colours=True).format(record(logging.ERROR))
    assert "\x1b[31m1 is one" in line


def test_traceback_stands_below() -> None:
    """It is a bug of ours, and is shown whole."""
    line = TextFormatter(has_colours=False).format(record(logging.ERROR, fails=True))
    assert "ValueError: invalid literal" in line
    assert "1 is one\nTraceback (most recent call last):" in line


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.INFO + 1, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
    ],
)
def test_journal_has_priorities(level: int, priority: int) -> None:
    """Each line has one, also those of a traceback; the journal knows the date."""
    lines = JournalFormatter().format(record(level, client=CLIENT, fails=True))
    first, *rest = lines.splitlines()
    assert first == f"<{priority}>[192.0.2.7:48254] 1 is one"
    assert rest
    assert all(line.startswith(f"<{priority}>") for line in rest)


def test_journal_is_known_by_its_stream() -> None:
    """The variable may be inherited, where output goes elsewhere."""
    read, write = os.pipe()
    try:
        status = os.fstat(write)
        stream = f"{status.st_dev}:{status.st_ino}"
        assert is_journal(write, {"JOURNAL_STREAM": stream})
        assert not is_journal(write, {"JOURNAL_STREAM": "8:1"})
        assert not is_journal(write, {})
    finally:
        os.close(read)
        os.close(write)
