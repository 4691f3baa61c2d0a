"""The dashboard and the alerts have what they ask for, by Prometheus' own word."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from demo.proxy import Proxy
from localcloud.cloud import LocalCloud
from registry_proxy import ROOT
from registry_proxy.port import free_port
from tests.integration.session import TIMEOUT, logged_in, plain_session
from tests.integration.tool import find_tool, listens, run, running, wait_until

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "registry-proxy.json").read_text())
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
PROMETHEUS = DEPLOY / "prometheus"
(GROUP,) = YAML(typ="safe").load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
PANELS = {
    target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
}
ALERTS = {rule["expr"] for rule in GROUP["rules"]}
BROWSER = "balenablocks/browser-aarch64"
WINDOW = "5s"
JOB = "registry-proxy"


@contextmanager
def scraping(metrics_port: int, folder: Path) -> Iterator[str]:
    """Run a Prometheus that scrapes the proxy; yield its URL."""
    port, file = free_port(), folder / "prometheus.yml"
    static = [{"targets": [f"127.0.0.1:{metrics_port}"]}]
    config = {
        "global": {"scrape_interval": "200ms"},
        "scrape_configs": [{"job_name": JOB, "static_configs": static}],
    }
    # YAML takes JSON as it is.
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
        refused = session.get(f"{base}/9.9.9/manifests/latest", timeout=TIMEOUT)
        assert refused.status_code == 404
    with plain_session() as session:
        assert session.get(f"{url}/v2/", timeout=TIMEOUT).status_code == 401


def has_number(url: str, expr: str) -> bool:
    """Return whether there is one; alerts are asked without their thresholds."""
    for pattern, value in (
        (r"\$__rate_interval|\b\d+m\b", WINDOW),
        (r"\$job", JOB),
        (r"\$instance", ".*"),
        (r" > [\d.]+|\babsent\b", ""),
    ):
        expr = re.sub(pattern, value, expr)
    found = ask(f"{url}/query", query=expr)["result"]
    return any(not math.isnan(float(series["value"][1])) for series in found)


def test_every_expression_has_a_number(cloud: LocalCloud, tmp_path: Path) -> None:
    """After some pulls no panel is without one, and no metric without a panel."""
    port, missing = free_port(), PANELS | ALERTS
    environment = {
        "API_URL": cloud.api_url,
        "METRICS_PORT": str(port),
        "CACHE": str(tmp_path / "cache"),
    }
    with (
        Proxy(cloud.registry_url, environment=environment) as proxy,
        scraping(port, tmp_path) as url,
    ):

        def all_have_numbers() -> bool:
            pull(proxy)
            missing.difference_update([e for e in missing if has_number(url, e)])
            return not missing

        wait_until(all_have_numbers, "every expression has a number")
        names = ask(f"{url}/label/__name__/values")
    text = json.dumps(DASHBOARD["panels"])
    for name in names:
        if name.startswith("balena_proxy_") and not name.endswith(("_created", "_sum")):
            assert re.sub(r"_(bucket|count)$", "", name) in text


def test_dashboard_belongs_to_no_installation() -> None:
    """It is asked which Prometheus to use, and shows all jobs and replicas at first."""
    assert DASHBOARD["id"] is None
    assert VARIABLES["datasource"]["query"] == "prometheus"
    text = json.dumps(DASHBOARD)
    assert {*re.findall(r'"uid": "([^"]*)"', text)} == {
        "${datasource}",
        DASHBOARD["uid"],
    }
    used = {*re.findall(r"\$\{?(\w+)", text)}
    assert used == {*VARIABLES, "__rate_interval", "__all"}
    for name in ("job", "instance"):
        assert VARIABLES[name]["current"]["value"] == ["$__all"]


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """By Prometheus' own word, for made-up series: all of them, and none too soon."""
    promtool = find_tool("promtool")
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path)}
    run(promtool, "check", "rules", PROMETHEUS / "alerts.yaml", environment=environment)
    tests = PROMETHEUS / "alerts_test.yaml"
    run(promtool, "test", "rules", tests, environment=environment)
    for rule in GROUP["rules"]:
        assert tests.read_text().count(f"alertname: {rule['alert']}") > 1
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
