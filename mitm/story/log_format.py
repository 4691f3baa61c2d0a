"""The lines of the log: for people, for systemd's journal, or as JSON.

mitmdump writes its log by a handler of its own, which takes any formatter and file.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from mitmproxy import ctx
from mitmproxy.addons.termlog import TermLogHandler
from mitmproxy.contrib import click as miniclick
from mitmproxy.log import ALERT, LOG_COLORS
from mitmproxy.utils import human

from mitm import output
from mitm.option import LogFormat
from mitm.story.log_line import RECORD, facts

_DATE_LENGTH = len("2026-11-29 13:02:11.096")
_LEVELS = {ALERT: "INFO"}
"""mitmproxy alerts the people at its interfaces; to a log that is nothing special."""
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
"""From which level on a line has which of syslog's priorities."""


class TextFormatter(logging.Formatter):
    """Writes date, level, client and message; on a terminal in mitmproxy's colours."""

    def __init__(self, *, has_colours: bool) -> None:
        super().__init__()
        self._style_of = miniclick.style if has_colours else _plain

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it a traceback if there is one."""
        moment = datetime.fromtimestamp(record.created).astimezone()
        date = moment.isoformat(sep=" ", timespec="milliseconds")[:_DATE_LENGTH]
        start = self._style_of(
            f"{date} {_LEVELS.get(record.levelno, record.levelname):<7}",
            fg="cyan",
            dim=True,
        )
        if client := getattr(record, "client", None):
            name = human.format_address(client)
            start += self._style_of(f" [{name}]", fg="yellow", dim=True)
        text = self._style_of(_text(self, record), fg=LOG_COLORS.get(record.levelno))
        return f"{start} {text}"


class JournalFormatter(logging.Formatter):
    """Writes lines for systemd's journal, which has date and unit itself.

    Each line begins with its priority (sd-daemon(3)).
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        client = getattr(record, "client", None)
        start = f"[{human.format_address(client)}] " if client else ""
        priority = next(
            number for level, number in _PRIORITIES if record.levelno >= level
        )
        lines = f"{start}{_text(self, record)}".splitlines()
        return "\n".join(f"<{priority}>{line}" for line in lines)


class JsonFormatter(logging.Formatter):
    """Writes one JSON object in a line: time, level, message, and facts by name."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": _LEVELS.get(record.levelno, record.levelname).lower(),
            "message": record.getMessage(),
        }
        if client := getattr(record, "client", None):
            line["client"] = str(client[0])
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        request = getattr(record, RECORD, None)
        return json.dumps(line | (facts(request) if request else {}))


def use_format(log_format: LogFormat) -> None:
    """Write the log of mitmdump in that format from now on.

    mitmproxy's interfaces have no such log, and show lines in their own way.
    """
    for handler in _handlers():
        is_json = log_format is LogFormat.JSON
        handler.setFormatter(JsonFormatter() if is_json else _text_formatter(handler))


def guard_output() -> None:
    """Let the log of mitmdump hold nothing up, also where `mitmdump -s` started it.

    The interfaces keep the output that they draw on.
    """
    addons = ctx.master.addons
    if addons.get("termlog") is None or addons.get("view") is not None:
        return
    output.guard()
    for handler in _handlers():
        handler.file = sys.stdout
    use_format(LogFormat.TEXT)  # Until the options are read.


def _text_formatter(handler: TermLogHandler) -> logging.Formatter:
    if is_journal(handler.file.fileno(), os.environ):
        return JournalFormatter()
    return TextFormatter(has_colours=handler.has_vt_codes)


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Return whether the journal reads what is written there (systemd.exec(5))."""
    status = os.fstat(descriptor)
    stream = f"{status.st_dev}:{status.st_ino}"
    return environment.get("JOURNAL_STREAM") == stream


def _text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.exc_info:
        message += f"\n{formatter.formatException(record.exc_info)}"
    return message


def _plain(text: str, **_style: object) -> str:
    return text


def _handlers() -> list[TermLogHandler]:
    handlers = logging.getLogger().handlers
    return [each for each in handlers if isinstance(each, TermLogHandler)]
