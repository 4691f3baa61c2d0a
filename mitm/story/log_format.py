"""The lines of the log: for people, or as JSON for machines.

mitmdump writes its log by a handler of its own, which takes any formatter and file.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from mitmproxy import ctx
from mitmproxy.addons.termlog import TermLogHandler
from mitmproxy.log import MitmFormatter

from mitm import output
from mitm.option import LogFormat
from mitm.story.log_line import RECORD, facts


class JsonFormatter(logging.Formatter):
    """Writes one JSON object in a line: time, level, message, and facts by name."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
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
        handler.setFormatter(
            JsonFormatter() if is_json else MitmFormatter(handler.has_vt_codes)
        )


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


def _handlers() -> list[TermLogHandler]:
    handlers = logging.getLogger().handlers
    return [each for each in handlers if isinstance(each, TermLogHandler)]
