"""A real Prometheus reads the metrics, and every panel has something to show."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

import serve
from demo.proxy import Proxy
from localcloud.cloud import LocalCloud
from localcloud.server import Request, Response
from serve import free_port
from tests.integration.session import TIMEOUT, logged_in, plain_session
from tests.integration.tool import find_tool, listens, running, wait_until

DEPLOY = serve.ROOT / "deploy"
BROWSER = "balenablocks/browser-aarch64"
SCRAPED_EVERY = "200ms"
WINDOW = "5s"
JOB = "registry-proxy"


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """A port for the metrics."""
    return free_port()


@pytest.fixture(scope="module")
def proxy(cloud: LocalCloud, metrics_port: int) -> Iterator[Proxy]:
    """A proxy that shows its metrics."""
    environment = {"API_URL": cloud.api_url, "METRICS_PORT": str(metrics_port)}
    with Proxy(cloud.registry_url, environment=environment) as made:
        yield made


@pytest.fixture(scope="module")
def prometheus(
    metrics_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a Prometheus that scrapes the proxy, and knows the alerts."""
    port, folder = free_port(), tmp_path_factory.mktemp("prometheus")
    config = {
        "global": {"scrape_interval": SCRAPED_EVERY, "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "prometheus" / "alerts.yaml")],
        "scrape_configs": [
            {
                "job_name": JOB,
                "static_configs": [{"targets": [f"127.0.0.1:{metrics_port}"]}],
            }
        ],
    }
    # YAML takes JSON as it is.
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(config))
    command = [
        find_tool("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, lambda: listens(port), log=folder / "prometheus.log"):
        yield f"http://127.0.0.1:{port}/api/v1"


def ask(url: str, **parameters: str) -> Any:
    """Return the data that Prometheus answers with."""
    with plain_session() as session:
        answer = session.get(url, params=parameters, timeout=TIMEOUT)
    assert answer.ok, answer.text
    return answer.json()["data"]


def pull(proxy: Proxy) -> None:
    """Ask for all that a pull asks for, once with success, and once without."""
    url = f"http://{proxy.host}"
    with logged_in(url, f"{BROWSER}/2.3.8", f"{BROWSER}/9.9.9") as session:
        base = f"{url}/v2/{BROWSER}"
        manifest = session.get(f"{base}/2.3.8/manifests/latest", timeout=TIMEOUT)
        digest = manifest.json()["config"]["digest"]
        assert session.get(f"{base}/2.3.8/blobs/{digest}", timeout=TIMEOUT).ok
        assert (
            session.get(f"{base}/9.9.9/manifests/latest", timeout=TIMEOUT).status_code
            == 404
        )
    with plain_session() as session:
        assert session.get(f"{url}/v2/", timeout=TIMEOUT).status_code == 401


def test_every_panel_shows_something(proxy: Proxy, prometheus: str) -> None:
    """After some pulls, no expression of the dashboard is without a number."""
    dashboard = json.loads((DEPLOY / "grafana" / "registry-proxy.json").read_text())
    missing = {
        target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }

    def has_number(expr: str) -> bool:
        for name, value in (
            ("$__rate_interval", WINDOW),
            ("$job", JOB),
            ("$instance", ".*"),
        ):
            expr = expr.replace(name, value)
        found = ask(f"{prometheus}/query", query=expr)["result"]
        return any(not math.isnan(float(series["value"][1])) for series in found)

    def all_have_numbers() -> bool:
        pull(proxy)
        missing.difference_update([expr for expr in missing if has_number(expr)])
        return not missing

    wait_until(all_have_numbers, "every panel has a number")


def test_alerts_are_evaluated(cloud: LocalCloud, proxy: Proxy, prometheus: str) -> None:
    """Pulls that fail are an alert that waits for its time; the rest is quiet."""

    def fail(_: Request) -> Response:
        return Response(500)

    def states() -> dict[str, str]:
        (group,) = ask(f"{prometheus}/rules")["groups"]
        assert all(rule["health"] in ("ok", "unknown") for rule in group["rules"])
        return {rule["name"]: rule["state"] for rule in group["rules"]}

    def is_noticed() -> bool:
        with plain_session() as session:
            query = {"scope": f"repository:{BROWSER}:pull"}
            url = f"http://{proxy.host}/auth/v1/token"
            assert session.get(url, params=query, timeout=TIMEOUT).status_code == 503
        return states()["RegistryProxyPullsFail"] == "pending"

    cloud.api.interpose = fail
    try:
        wait_until(is_noticed, "the alert")
    finally:
        cloud.api.interpose = None
    noticed = {name for name, state in states().items() if state != "inactive"}
    noticed.discard("RegistryProxyBusy")  # It may be so, as it has just begun.
    assert noticed == {"RegistryProxyPullsFail", "RegistryProxyApiFails"}
