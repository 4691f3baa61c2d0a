"""The level below which no line of the log is made: nobody would get to see it.

mitmproxy makes every line of every library, at debug level, and hands each to all of
its addons as an event that hardly any addon takes any more.
"""

import logging

from mitmproxy import ctx
from mitmproxy.log import LegacyLogEvents


def spare_unread_lines() -> None:
    """Make no line from now on that no handler would write.

    Called again where the verbosity changes, or who listens.
    """
    root = logging.getLogger()
    is_wanted = any(
        hasattr(addon, "add_log") for addon in ctx.master.addons.lookup.values()
    )
    levels = [logging.CRITICAL]
    for handler in root.handlers:
        if isinstance(handler, LegacyLogEvents) and not is_wanted:
            handler.setLevel(logging.CRITICAL + 1)
        else:
            levels.append(handler.level)
    least = max(logging.DEBUG, min(levels))
    root.setLevel(least)
    # Its lines about each connection count as details (`redaction.quieten_logs`).
    is_detailed = least <= logging.DEBUG
    connections = logging.getLogger("mitmproxy.proxy.server")
    connections.setLevel(logging.NOTSET if is_detailed else logging.WARNING)
