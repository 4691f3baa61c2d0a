"""What Prometheus is told: how pulls end, and where time and trouble are.

Names follow https://prometheus.io/docs/practices/naming/. No alias, address or key is
a label: there are too many of them, and metrics are read by more people than logs.
"""

import platform
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from itertools import product
from typing import Any

from mitmproxy import version as mitmproxy_version
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from mitm import output
from mitm.guard.connection import Connections
from mitm.story.kind import Kind, Outcome
from mitm.story.record import Record
from mitm.version import VERSION
from resolver.blob.count import Kept
from resolver.errors import Reason, Refusal
from resolver.upstream.observer import (
    ApiRequest,
    CacheState,
    Endpoint,
    Event,
    Failure,
    LookUp,
    Part,
    Result,
)

PREFIX = "balena_proxy"
API_BUCKETS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 10)
"""Seconds; balenaCloud answers in 45 to 170 ms, and after 10 s nobody waits."""
REQUEST_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 120, 600),
)
"""Seconds; a large blob takes minutes."""
_FAILURES = (Outcome.UNAUTHORIZED, Outcome.LIMITED, Outcome.FAILED)
_PULL_OUTCOMES = (Outcome.SERVED, Outcome.REFUSED, *_FAILURES)


class Metrics:
    """Counts what it is told; an `Observer` of the resolver."""

    def __init__(self, connections: Connections) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._pulls = self._series(
            Counter,
            "pulls",
            "Pulls by outcome: one for each manifest that was sent, and for each alias,"
            " token or manifest that was not.",
            {"outcome": _PULL_OUTCOMES},
        )
        self._requests = self._series(
            Counter,
            "requests",
            "Requests by what they asked for, and how they ended.",
            {"kind": Kind, "outcome": Outcome},
        )
        self._durations = self._series(
            Histogram,
            "request_duration_seconds",
            "Time from the head of a request to the end of its answer.",
            {"kind": Kind},
            buckets=REQUEST_BUCKETS,
        )
        self._resolutions = self._series(
            Counter,
            "resolutions",
            "Look-ups of aliases by what came of them, and where that was known from.",
            {"result": Result, "cache": CacheState},
        )
        self._api = self._series(
            Histogram,
            "api_request_duration_seconds",
            "Time of a request to the balena API; a try again is another request.",
            {"endpoint": Endpoint},
            buckets=API_BUCKETS,
        )
        self._failures = self._series(
            Counter,
            "upstream_errors",
            "Answers that registry or API did not give, or that could not be used.",
            {"upstream": Part, "reason": Reason},
        )
        blob_states = {"state": (CacheState.HIT, CacheState.SHARED, CacheState.MISS)}
        self._blobs = self._series(
            Counter,
            "cache_blobs",
            "Blobs that were answered with the cache, by where they came from.",
            blob_states,
        )
        self._blob_bytes = self._series(
            Counter,
            "cache_blob_bytes",
            "Bytes of these that clients got.",
            blob_states,
        )
        self._kept = Kept()
        self._watch(connections)

    def watch(self, kept: Kept) -> None:
        """Show what is in the cache of blobs from now on."""
        self._kept = kept

    def show(self, address: tuple[str, int]) -> None:
        """Let Prometheus read the metrics there.

        Raises:
            OSError: nobody can listen there.

        """
        host, port = address
        self._server, _ = start_http_server(port, host, self.registry)

    def close(self) -> None:
        """Show them no longer."""
        self._server.shutdown()
        self._server.server_close()

    def count(self, record: Record) -> None:
        """Take note of a request that is over."""
        self._requests.labels(record.kind, record.outcome).inc()
        self._durations.labels(record.kind).observe(record.seconds or 0.0)
        for outcome in _pulls(record):
            self._pulls.labels(outcome).inc()
        if record.cache:
            self._blobs.labels(record.cache).inc()
            self._blob_bytes.labels(record.cache).inc(record.bytes or 0)
        if record.reason:
            part = Part.API if record.kind is Kind.TOKEN else Part.REGISTRY
            self.note(Failure(part, record.reason))

    def note(self, event: Event) -> None:
        """Count an event of the resolver."""
        match event:
            case LookUp(result, state):
                self._resolutions.labels(result, state).inc()
            case ApiRequest(endpoint, seconds):
                self._api.labels(endpoint).observe(seconds)
            case Failure(part, reason):
                self._failures.labels(part, reason).inc()

    def _watch(self, connections: Connections) -> None:
        """Show what is the case at the moment that somebody looks."""
        live = self._gauge("connections", "Connections that are open.", "peer")
        live.labels("client").set_function(lambda: connections.clients)
        live.labels("registry").set_function(lambda: connections.registry)
        self._gauge(
            "connections_max", "Connections of clients that there may be."
        ).set_function(lambda: connections.clients_max)
        self._gauge(
            "requests_in_progress", "Requests that are being answered."
        ).set_function(lambda: connections.running)
        labels = ("version", "mitmproxy", "python")
        info = self._gauge("build_info", "1, with the versions as labels.", *labels)
        versions = VERSION, mitmproxy_version.VERSION, platform.python_version()
        info.labels(*versions).set(1)
        size = self._gauge("cache_bytes", "Bytes of the blobs in the cache.")
        size.set_function(lambda: self._kept.size)
        size_max = self._gauge("cache_bytes_max", "Bytes that they may have.")
        size_max.set_function(lambda: self._kept.size_max)
        self.registry.register(_Counted(connections, lambda: self._kept))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _series[T: (Counter, Histogram)](
        self,
        series: type[T],
        name: str,
        text: str,
        labels: Mapping[str, Iterable[StrEnum]],
        **options: Any,
    ) -> T:
        metric = series(
            name,
            text,
            list(labels),
            namespace=PREFIX,
            registry=self.registry,
            **options,
        )
        # What is not there before its first event has no rate at it.
        for values in product(*labels.values()):
            metric.labels(*values)
        return metric


class _Counted(Collector):
    """Shows numbers that are counted elsewhere, by what is done often or in threads."""

    def __init__(self, connections: Connections, kept: Callable[[], Kept]) -> None:
        self._connections = connections
        self._kept = kept

    def collect(self) -> Iterable[Metric]:
        """Return them as they are now."""
        yield CounterMetricFamily(
            f"{PREFIX}_streamed_bytes",
            "Bytes of blobs that came from registry, storage or cache.",
            value=self._connections.traffic.streamed,
        )
        counts = self._kept().counts
        for name, text, value in (
            (
                "cache_fetched_bytes",
                "Bytes that were fetched to be kept.",
                counts.fetched,
            ),
            (
                "cache_evictions",
                "Blobs that made room for others.",
                counts.evictions,
            ),
            (
                "cache_evicted_bytes",
                "Bytes of blobs that made room for others.",
                counts.evicted_bytes,
            ),
            (
                "cache_damaged",
                "Blobs that are not what their digests say, on disk or as they came.",
                counts.damaged,
            ),
        ):
            yield CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)
        yield CounterMetricFamily(
            f"{PREFIX}_dropped_log_lines",
            "Lines of the log that nobody read in time, or that could not be written.",
            value=output.dropped_lines(),
        )


def _pulls(record: Record) -> list[Outcome]:
    """Return how many pulls ended with a request, and how.

    A pull begins with a token and ends with the manifest. Clients ask for the manifest
    with HEAD before GET, or do not, so HEAD counts for nothing.
    """
    outcome = record.outcome
    if record.kind is Kind.TOKEN:
        if refused := record.refused:
            return [Outcome.REFUSED] * len(refused)
        return [outcome] if outcome in _FAILURES else []
    if record.kind is not Kind.MANIFEST or record.method != "GET":
        return []
    if outcome is Outcome.REFUSED and isinstance(record.error, Refusal):
        return []  # It was counted where the token was refused.
    return [outcome] if outcome in _PULL_OUTCOMES else []
