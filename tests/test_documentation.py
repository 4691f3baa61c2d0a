"""The documentation holds what the code says, and mitm.conf what mitmproxy knows."""

import asyncio
import re
import tomllib

from mitmproxy.options import Options
from mitmproxy.tools.dump import DumpMaster
from ruamel.yaml import YAML

from mitm.guard.connection import Connections, Limits
from mitm.option import format_table
from mitm.story.metrics import PREFIX, Metrics
from mitm.story.record import Record
from mitm.version import VERSION
from registry_proxy import ROOT
from resolver.upstream.observer import ApiRequest, Endpoint
from tests.integration.tool import PACKAGES

README = (ROOT / "README.md").read_text()
SECURITY = (ROOT / "docs" / "security.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
CONF = YAML(typ="safe").load((ROOT / "mitm.conf").read_text())


def test_options_are_documented() -> None:
    """The README has the table as it is printed, and mitmproxy's own `mode`."""
    assert format_table() in README
    assert f"`{CONF['mode'][0]}`" in README


def counted() -> Metrics:
    """Return metrics in which everything was counted once."""
    connections = Connections()
    connections.limit(Limits(1, 1, 1, 1, 1))
    metrics = Metrics(connections)
    metrics.count(Record("id", (), "GET", "/"))
    metrics.note(ApiRequest(Endpoint.TOKEN, 0.1))
    return metrics


def test_metrics_are_documented() -> None:
    """The README's table has every metric of the proxy, with its labels."""
    shown = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in counted().registry.collect()
        if family.name.startswith(PREFIX)
    }
    table = dict(re.findall(rf"^\| `({PREFIX}\w+)` \| (.*?) ?\|", README, re.MULTILINE))
    assert set(table) == set(shown)
    for name, family in shown.items():
        labels = {label for sample in family.samples for label in sample.labels}
        assert set(re.findall(r"`(\w+)`", table[name])) == labels - {"le"}


def test_version_is_that_of_the_project() -> None:
    """The metrics tell the version that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_targets_are_documented() -> None:
    """`make help` describes every target."""
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    described = set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE))
    assert targets == described


def test_keys_of_mitm_conf_exist() -> None:
    """Mitmproxy ignores a misspelt key in silence, so each is looked up here."""

    async def names() -> set[str]:
        return set(DumpMaster(Options(), with_termlog=False).options.keys())

    assert set(CONF) <= asyncio.run(names())


def test_architecture_names_files_that_there_are() -> None:
    """Who looks for something by the page finds it."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    names = set(re.findall(r"`([\w/]+\.py)`", page))
    rooms = [*ROOT.glob("resolver/*/"), *ROOT.glob("mitm/*/"), ROOT]
    rooms += [ROOT / "mitm", ROOT / "resolver"]
    missing = {
        name for name in names if not any((room / name).exists() for room in rooms)
    }
    assert not missing


def test_programs_of_the_tests_are_listed() -> None:
    """Who lacks one is told what to install; README and CI have the whole list."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    found = set(re.findall(r"\bfind_tool\(\"([\w-]+)\"", tests))
    assert found <= {*PACKAGES} <= set(re.findall(r"\"([\w-]+)\"", tests))
    section = README.partition("\nThe tests use ")[2].partition("\nLicence")[0]
    listed = set(re.findall(r"[\w.-]+\w", section))
    installed = set(re.findall(r"[\w.-]+\w", (ROOT / ".ci" / "run").read_text()))
    for package in PACKAGES.values():
        assert package in listed
        assert package in installed


def test_every_claim_of_security_is_tried() -> None:
    """Each numbered claim of docs/security.md is in the docstring of a test."""
    claims = set(re.findall(r"^\| (T\d+) \|", SECURITY, re.MULTILINE))
    tests = (ROOT / "tests").rglob("test_*.py")
    texts = "".join(path.read_text() for path in tests)
    assert len(claims) > 10
    assert claims == set(re.findall(r"\((T\d+)\)", texts))
