"""The end of a running proxy, which lets transfers finish for a while.

SIGTERM closes the port, so that a load balancer goes elsewhere, and connections that
are idle; those at work are closed after their answer. A second SIGTERM, as SIGINT,
ends at once.
"""

import asyncio
import logging
import signal
from contextlib import suppress

from mitmproxy import ctx, log

from mitm.guard.connection import Connections

logger = logging.getLogger(__name__)


class GracefulStop:
    """Ends mitmproxy once the connections are at rest."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._seconds = 0
        self._task: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Answer SIGTERM in place of mitmproxy, which ends at once."""
        with suppress(NotImplementedError):  # Windows has no such signal.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.begin)

    def grant(self, seconds: int) -> None:
        """Let transfers that run then go on for so long; 0 ends them at once."""
        self._seconds = seconds

    def begin(self) -> None:
        """Begin to end; called again, end."""
        if self._task or not self._seconds:
            ctx.master.shutdown()
            return
        self._task = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        ctx.options.server = False
        if running := self._connections.running:
            logger.log(
                log.ALERT,
                "stopping: nobody else is let in, %d requests may go on for %d s",
                running,
                self._seconds,
            )
        if left := await self._connections.stop(self._seconds):
            logger.warning("stopped: %d requests were cut off", left)
        else:
            logger.log(log.ALERT, "stopped: no request was cut off")
        ctx.master.shutdown()
