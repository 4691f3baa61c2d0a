"""Every option and variable is documented, and every key of mitm.conf exists."""

import asyncio
import re
import tomllib

from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.options import Options
from mitmproxy.test import taddons
from mitmproxy.tools.dump import DumpMaster
from ruamel.yaml import YAML

import addon
import serve
from mitm.guard.connection import Connections, Limits
from mitm.option import OPTIONS
from mitm.story.metrics import PREFIX, Metrics
from mitm.story.record import Record
from mitm.version import VERSION
from resolver.upstream.observer import Endpoint
from tests.variables import read_variables

README = (serve.ROOT / "README.md").read_text()
MAKEFILE = (serve.ROOT / "Makefile").read_text()
CONF = YAML(typ="safe").load((serve.ROOT / "mitm.conf").read_text())


def documented(heading: str) -> dict[str, str]:
    """Return the rows of the table with that heading: name and default."""
    table = README.partition(f"| {heading} | default |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE)
    assert rows
    return dict(rows)


def test_options_are_documented() -> None:
    """The README's table has every option of the addon, with its default."""
    with taddons.context(Proxyserver(), addon.RegistryProxy()) as context:
        defaults = {name: context.options.default(name) for name in OPTIONS}
    table = documented("option")
    assert set(table) == {"mode", *defaults}
    for name, default in defaults.items():
        shown = f"`{str(default).lower()}`" if default != "" else "empty"
        assert table[name].startswith(shown)
    assert f"`{CONF['mode'][0]}`" == table["mode"]


def test_variables_are_documented() -> None:
    """The README lists every variable that is read, and the Makefile passes it."""
    read = read_variables()
    assert set(documented("variable")) == read
    for variable in read:
        assert re.search(rf"^export .*\b{variable}\b", MAKEFILE, re.MULTILINE)


def counted() -> Metrics:
    """Return metrics in which everything was counted once."""
    connections = Connections()
    connections.limit(Limits(1, 1, 1, 1))
    metrics = Metrics(connections)
    metrics.count(Record("id", (), "GET", "/"))
    metrics.asked(Endpoint.TOKEN, 0.1)
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
    project = tomllib.loads((serve.ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_targets_are_documented() -> None:
    """`make help` describes every target."""
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    described = set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE))
    assert targets == described


def test_keys_of_mitm_conf_exist() -> None:
    """Mitmproxy ignores a misspelt key in silence, so each is looked up here."""

    async def known() -> set[str]:
        return set(DumpMaster(Options(), with_termlog=False).options.keys())

    assert set(CONF) <= asyncio.run(known()) | set(OPTIONS)
