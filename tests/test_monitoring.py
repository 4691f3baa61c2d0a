"""The Grafana dashboard and the alerts ask for metrics that the proxy shows."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from ruamel.yaml import YAML

import serve
from mitm.guard.connection import Connections, Limits
from mitm.story.metrics import Metrics
from mitm.story.record import Kind
from resolver.upstream.observer import Endpoint
from tests.integration.tool import find_tool, run

DASHBOARD = json.loads(
    (serve.ROOT / "deploy" / "grafana" / "registry-proxy.json").read_text()
)
PROMETHEUS = serve.ROOT / "deploy" / "prometheus"
RULES = [
    rule
    for group in YAML(typ="safe").load((PROMETHEUS / "alerts.yaml").read_text())[
        "groups"
    ]
    for rule in group["rules"]
]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
WIDTH = 24
OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus itself adds."""
type Place = Mapping[str, int]


def expressions() -> Iterator[tuple[str, str]]:
    """Return what is asked for, with where; variables of Grafana's replaced."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", "5m")
            yield panel["title"], expr
    for variable in VARIABLES.values():
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
            assert match
            assert match[2] in OF_PROMETHEUS
            yield variable["name"], match[1]


def series() -> dict[str, list[Mapping[str, str]]]:
    """Return what a proxy shows: the labels of each series, by the metric's name."""
    found: dict[str, list[Mapping[str, str]]] = {}
    connections = Connections()
    connections.limit(Limits(1, 1, 1, 1))
    metrics = Metrics(connections)
    for endpoint in Endpoint:
        metrics._api.labels(endpoint)
    for kind in Kind:
        metrics._durations.labels(kind)
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def nodes(expr: promql_parser.Expr, kind: type) -> list[Any]:
    """Return what of the kind is in an expression."""
    found: list[Any] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, kind):
            found.append(node)

    promql_parser.walk(expr, visit)
    return found


def fits(labels: Mapping[str, str], matcher: promql_parser.Matcher) -> bool:
    """Return whether a series has what a selector asks for."""
    value = labels.get(matcher.name, "")
    is_same = (
        value == matcher.value
        if matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)
        else re.fullmatch(matcher.value, value) is not None
    )
    is_wanted = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.Re)
    return is_same == is_wanted


@pytest.mark.parametrize(("place", "text"), list(expressions()))
def test_expressions_ask_for_what_there_is(place: str, text: str) -> None:
    """Each metric, label and value is one that a proxy shows."""
    shown = series()
    expr = promql_parser.parse(text)
    selectors = nodes(expr, promql_parser.VectorSelector)
    selectors += [
        node.vector_selector for node in nodes(expr, promql_parser.MatrixSelector)
    ]
    assert selectors, place
    names = set(OF_PROMETHEUS)
    for selector in selectors:
        assert selector.name in shown
        found = shown[selector.name]
        names |= {name for labels in found for name in labels}
        asked = [m for m in selector.matchers.matchers if m.name not in OF_PROMETHEUS]
        assert {matcher.name for matcher in asked} <= names
        assert any(all(fits(labels, m) for m in asked) for labels in found)
    for aggregate in nodes(expr, promql_parser.AggregateExpr):
        if aggregate.modifier:
            assert {*aggregate.modifier.labels} <= names


def test_every_metric_is_shown() -> None:
    """The dashboard leaves out no metric of the proxy's own."""
    text = json.dumps(PANELS)
    for name in series():
        if name.startswith("balena_proxy_") and not name.endswith(("_created", "_sum")):
            assert re.sub(r"_(bucket|count)$", "", name) in text


def test_panels_can_be_told_apart() -> None:
    """Each panel has a number of its own, a title, and words that explain it."""
    panels = DASHBOARD["panels"]
    for name in ("id", "title"):
        assert len({panel[name] for panel in panels}) == len(panels)
    for panel in PANELS:
        assert panel["description"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_panels_lie_beside_each_other() -> None:
    """No panel covers another one, or reaches beyond the page."""
    places: list[Place] = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= WIDTH
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )


def test_dashboard_belongs_to_no_installation() -> None:
    """It is asked which Prometheus to use, and shows all jobs and replicas at first."""
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 36  # Where a data source is an object.
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    text = json.dumps(DASHBOARD)
    assert {*re.findall(r'"uid": "([^"]*)"', text)} == {
        "${datasource}",
        DASHBOARD["uid"],
    }
    used = {*re.findall(r"\$\{?(\w+)", text)}
    assert used == {*VARIABLES, "__rate_interval", "__all"}
    for name in OF_PROMETHEUS:
        assert VARIABLES[name]["current"]["value"] == ["$__all"]


def test_alerts_say_what_they_are() -> None:
    """Each alert has a severity, what is the matter, and what can be done."""
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["for"]


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """By Prometheus' own word, for made-up series: all of them, and none too soon."""
    promtool = find_tool("promtool")
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path)}
    run(promtool, "check", "rules", PROMETHEUS / "alerts.yaml", environment=environment)
    tests = PROMETHEUS / "alerts_test.yaml"
    run(promtool, "test", "rules", tests, environment=environment)
    for rule in RULES:
        assert tests.read_text().count(f"alertname: {rule['alert']}") > 1
