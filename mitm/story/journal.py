"""Keeps a record of every request, and tells log and metrics when it is over."""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from cachetools import LRUCache
from mitmproxy import exceptions, http

from mitm.guard import inbound
from mitm.guard.connection import Connections
from mitm.settings import Settings
from mitm.story import log_line, words
from mitm.story.record import KnownRelease, Record
from resolver.token.answer import TokenAnswer
from resolver.upstream.observer import NOBODY, Observer

if TYPE_CHECKING:
    from mitm.story.metrics import Metrics

RELEASES_MAX = 10_000
"""Locations of which it is remembered which release they hold, for the log."""
REQUEST_ID_HEADER = "X-Request-Id"


class Journal:
    """The requests that are being answered, and what became of those before."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._records: WeakKeyDictionary[http.HTTPFlow, Record] = WeakKeyDictionary()
        self._releases: LRUCache[str, KnownRelease] = LRUCache(RELEASES_MAX)
        self._address: tuple[str, int] | None = None
        self._metrics: Metrics | None = None

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
        self.close()
        self._metrics, self._address = shown, address

    def begin(
        self, flow: http.HTTPFlow, headers: dict[str, str], settings: Settings
    ) -> Record:
        """Open the record of a request; see `inbound.begin_record`."""
        begun = inbound.begin_record(flow, headers, settings)
        self._records[flow] = begun
        return begun

    def get(self, flow: http.HTTPFlow) -> Record | None:
        """Return the record of a request that is not over."""
        return self._records.get(flow)

    def has_failed(self, flow: http.HTTPFlow) -> bool:
        """Return whether the flow was answered with an error of ours."""
        begun = self._records.get(flow)
        return begun is not None and begun.error is not None

    def issue(self, begun: Record, answer: TokenAnswer) -> None:
        """Take note of the token that a client gets."""
        begun.issued(answer)
        for found in answer.resolutions:
            self._releases[found.location] = KnownRelease.of(found.release)

    def name_request(self, flow: http.HTTPFlow) -> None:
        """Let the client know under which name the log has its request."""
        begun = self._records.get(flow)
        if begun and flow.response:
            flow.response.headers[REQUEST_ID_HEADER] = begun.request_id

    def answered(self, flow: http.HTTPFlow) -> None:
        """Close the record of a request that was answered as a whole."""
        if flow.response and (over := self._records.pop(flow, None)):
            over.answered(flow.response, is_head=flow.request.method == "HEAD")
            self._close(flow, over)

    def broken(self, flow: http.HTTPFlow, failure: str) -> None:
        """Close the record of one that was not."""
        if over := self._records.pop(flow, None):
            over.broken(failure, is_client_there=flow.client_conn.connected)
            self._close(flow, over)
        else:
            words.tell_unread(flow, failure)

    def close(self) -> None:
        """Show the metrics no longer."""
        if self._metrics:
            self._metrics.close()
        self._metrics = self._address = None

    def _close(self, flow: http.HTTPFlow, over: Record) -> None:
        if over.location:
            over.release = over.release or self._releases.get(over.location)
        words.tell(flow, over)
        log_line.write(over)
        if self._metrics:
            self._metrics.count(over)


def _count(connections: Connections) -> "Metrics":
    """Return metrics; their library is loaded where somebody wants to see them."""
    from mitm.story.metrics import Metrics  # noqa: PLC0415

    return Metrics(connections)
