"""Who is told of a request: the flow itself, an audience, the log, the metrics."""

import logging
from typing import TYPE_CHECKING

from cachetools import LRUCache, TTLCache
from mitmproxy import exceptions, http

from cause.client import RETURN_SECONDS
from mitm.guard.connection import Connections
from mitm.story import log_line, own_request, words
from mitm.story.alias import KnownRelease
from mitm.story.audience import Audience, tell
from mitm.story.handshake import Handshake
from mitm.story.record import Record
from mitm.story.returning import Returns
from resolver.blob.count import Kept
from resolver.token.answer import TokenAnswer
from resolver.upstream.observer import NOBODY, Observer

logger = logging.getLogger("balena")

if TYPE_CHECKING:
    from mitm.story.metrics import Metrics

REDIRECTED_MAX = 10_000
REDIRECTED_SECONDS = 300
"""How long it is known that a client was redirected for a blob."""
BACK_TIMES = 3
"""Requests for the same blob, of which a client that got it needs one; who verifies an
image asks twice, and whoever cannot reach the storage five times."""
RELEASES_MAX = 10_000
"""Locations of which it is remembered which release they hold, for the log."""


class Journal:
    """Tells of requests, and knows the releases of those before."""

    def __init__(
        self, connections: Connections, return_seconds: float = RETURN_SECONDS
    ) -> None:
        """Wait so long for clients that are to come back."""
        self._connections = connections
        self._releases: LRUCache[str, KnownRelease] = LRUCache(RELEASES_MAX)
        self._redirected: TTLCache[tuple[object, ...], int] = TTLCache(
            REDIRECTED_MAX, REDIRECTED_SECONDS
        )
        self._address: tuple[str, int] | None = None
        self._metrics: Metrics | None = None
        self._kept = Kept()
        self._audience: Audience | None = None
        self._returns = Returns(self._lost, return_seconds)

    @property
    def observer(self) -> Observer:
        """Who counts what the resolver does."""
        return self._metrics or NOBODY

    def show_metrics(self, address: tuple[str, int] | None) -> None:
        """Count, and show it at the address, or stop doing so.

        Raises:
            OptionsError: nobody can listen there.

        """
        if address == self._address:
            return
        shown = _count(self._connections) if address else None
        if shown and address:
            try:
                shown.show(address)
            except OSError as error:
                raise exceptions.OptionsError(
                    f"balena_metrics_listen (METRICS_PORT): {address[0]} port"
                    f" {address[1]} cannot be listened at, {error.strerror}; choose"
                    " another port"
                ) from error
        self._close_metrics()
        self._metrics, self._address = shown, address
        self.watch(self._kept)

    def seat(self, audience: Audience | None) -> None:
        """Tell the audience of requests from now on; with None nobody."""
        self._audience = audience

    def watch(self, kept: Kept) -> None:
        """Count what is in the cache of blobs from now on."""
        self._kept = kept
        if self._metrics:
            self._metrics.watch(kept)

    def began(self, flow: http.HTTPFlow, record: Record) -> None:
        """Tell of a request that is not over, where somebody looks before it is.

        Again where more is known of it.
        """
        self._returns.note(flow, record)
        if self._audience or own_request.is_watched():
            words.begin(flow, record)
        self._show(flow, record)

    def note_handshake(self, failed: Handshake) -> None:
        """Take note of a handshake with a client that came to nothing."""
        self._returns.note_handshake(failed)

    def streamed(self, flow: http.HTTPFlow, record: Record) -> None:
        """Tell of one whose answer is on its way."""
        words.tell_streaming(flow, record)
        self._show(flow, record)

    def issue(self, record: Record, answer: TokenAnswer) -> None:
        """Take note of the token that a client gets."""
        record.issued(answer)
        for found in answer.resolutions:
            self._releases[found.location] = KnownRelease.of(found.release)

    def answered(self, flow: http.HTTPFlow, record: Record) -> None:
        """Close the record of a request that was answered as a whole."""
        if flow.response:
            record.answered(flow.response, is_head=flow.request.method == "HEAD")
        self._close(flow, record)

    def broken(self, flow: http.HTTPFlow, record: Record, failure: str) -> None:
        """Close the record of one that was not."""
        record.broken(failure, is_client_there=flow.client_conn.connected)
        self._close(flow, record)

    def close(self) -> None:
        """Show the metrics no longer, and wait for no client."""
        self._returns.close()
        self._close_metrics()

    def _close_metrics(self) -> None:
        if self._metrics:
            self._metrics.close()
        self._metrics = self._address = None

    def _close(self, flow: http.HTTPFlow, record: Record) -> None:
        record.recall(self._releases)
        is_whole = "range" not in flow.request.headers
        if record.is_redirected and record.session and is_whole:
            key = record.session, record.digest, record.client[:1], record.agent
            times = self._redirected.get(key, 0) + 1
            record.is_back = times >= BACK_TIMES
            self._redirected[key] = times
        words.tell(flow, record)
        log_line.write(record)
        self._returns.note(flow, record)
        self._show(flow, record)
        if self._metrics:
            self._metrics.count(record)

    def _lost(self, flow: http.HTTPFlow, record: Record) -> None:
        """Tell of a client that did not come back."""
        record.save(flow)
        log_line.write_finding(record)
        self._show(flow, record)

    def _show(self, flow: http.HTTPFlow, record: Record) -> None:
        tell(self._audience, flow, record)


def _count(connections: Connections) -> "Metrics":
    """Return metrics; their library is loaded where somebody wants to see them."""
    from mitm.story.metrics import Metrics  # noqa: PLC0415

    return Metrics(connections)
