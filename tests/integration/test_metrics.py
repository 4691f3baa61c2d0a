"""What Prometheus reads of a running proxy, and what it does not."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from demo.proxy import Proxy, StartError
from localcloud.relay import Failure, Fault
from registry_proxy.port import free_port
from tests.client.client import Skopeo
from tests.integration.blob import first_layer
from tests.integration.fault import ALIAS, IN_BLOB, OPTIONS, parts, with_token
from tests.integration.raw import connected, get, send
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.tool import ToolError, wait_for_start, wait_until

PREFIX = "balena_proxy_"
Samples = dict[tuple[str, frozenset[str]], float]


def read_metrics(port: int) -> Samples:
    """Return each sample of the proxy by its name and the values of its labels."""
    with plain_session() as session:
        text = session.get(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT).text
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.values())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Meter:
    """What has been counted since it was made."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._before = read_metrics(port)

    def count(self, name: str, *labels: str) -> float:
        """Return how much was counted, which is never less than before."""
        key = (name, frozenset(labels))
        return read_metrics(self._port).get(key, 0) - self._before.get(key, 0)


@contextmanager
def measured(installation: Installation) -> Iterator[tuple[Proxy, Meter]]:
    """Yield a proxy that shows metrics, and what reads them."""
    port = free_port()
    variables = {"METRICS_PORT": str(port)}
    with Proxy(installation.url, environment=variables) as proxy:
        # What the proxy asks at the start is counted too.
        wait_for_start(proxy)
        yield proxy, Meter(port)


def test_pulls_are_counted_by_outcome(
    installation: Installation, skopeo: Skopeo
) -> None:
    """One served pull, one refused, one with a wrong key: one each."""
    with measured(installation) as (proxy, meter):
        skopeo.pull(f"{proxy.host}/{ALIAS}")
        with pytest.raises(ToolError, match="no release"):
            skopeo.pull(f"{proxy.host}/balenablocks/browser-aarch64/9.9.9")
        with pytest.raises(ToolError, match="unauthorized"):
            skopeo.pull(f"{proxy.host}/{ALIAS}", "wrong")
        for outcome in ("served", "refused", "unauthorized"):
            assert meter.count("pulls_total", outcome) == 1
        assert meter.count("pulls_total", "failed") == 0
        assert meter.count("requests_total", "token", "served") == 1
        assert meter.count("requests_total", "blob", "served") > 1
        assert meter.count("streamed_bytes_total") > 1_000_000
        # The wrong key found the public application; its token was not issued.
        assert meter.count("resolutions_total", "found", "miss") == 2
        assert meter.count("resolutions_total", "refused", "miss") == 1
        skopeo.pull(f"{proxy.host}/{ALIAS}")
        assert meter.count("resolutions_total", "found", "hit") == 1
        assert meter.count("api_request_duration_seconds_count", "token") == 4


def test_failures_are_counted_by_their_reason(tmp_path: Path) -> None:
    """Whoever is paged sees which of the two fails, and how."""
    port = free_port()
    variables = {"METRICS_PORT": str(port)}
    with parts(tmp_path, options=OPTIONS, environment=variables) as whole:
        get_token(whole.url, ALIAS)
        meter = Meter(port)
        whole.api.fail(Fault(Failure.HANG))
        with pytest.raises(requests.HTTPError, match="503"):
            get_token(whole.url, ALIAS)
        wait_until(
            lambda: meter.count("upstream_errors_total", "api", "timeout") >= 1,
            "the API's silence is counted",
        )
        assert meter.count("pulls_total", "failed") == 1
        whole.mend()
        with with_token(whole) as session:
            digest, size = first_layer(session, whole.url, ALIAS)
            whole.registry.fail(Fault(Failure.STALL, IN_BLOB, 300_000))
            token = str(session.headers["Authorization"]).partition(" ")[2]
            answer = send(whole.proxy, get(f"/v2/{ALIAS}/blobs/{digest}", token))
            assert len(answer) < size
        assert meter.count("upstream_errors_total", "registry", "timeout") == 1
        assert meter.count("requests_total", "blob", "failed") == 1


def test_live_connections_are_shown(installation: Installation) -> None:
    """The number of clients goes up and down with them."""
    with measured(installation) as (proxy, meter):
        before = read_metrics(meter._port)["connections", frozenset({"client"})]
        with connected(proxy), connected(proxy):
            wait_until(
                lambda: meter.count("connections", "client") == 2, "both are counted"
            )
        wait_until(
            lambda: meter.count("connections", "client") == -before, "none is left"
        )


def test_port_in_use_stops_the_start(installation: Installation) -> None:
    """The message names the variable, and the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        proxy = Proxy(installation.url, environment={"METRICS_PORT": str(port)})
        with pytest.raises(StartError, match=rf"METRICS_PORT.*port {port}"), proxy:
            pass
