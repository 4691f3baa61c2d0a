"""The documentation holds what the code says, and mitm.conf what mitmproxy knows."""

import asyncio
import json
import re
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from pathlib import Path

import pytest
from mitmproxy.options import Options
from mitmproxy.tools.dump import DumpMaster
from ruamel.yaml import YAML

from mitm.guard.connection import Connections, Limits
from mitm.option import OPTIONS, VARIABLES, format_table
from mitm.story.metrics import PREFIX, Metrics
from mitm.story.record import Record
from mitm.version import VERSION
from registry_proxy import ROOT
from registry_proxy.command import COMMANDS
from resolver.upstream.observer import ApiRequest, Endpoint
from tests.documentation import PAGES, blocks, languages, prose
from tests.integration.tool import PACKAGES

DOCUMENTATION = "\n".join(PAGES.values())
MAKEFILE = (ROOT / "Makefile").read_text()
CONF = YAML(typ="safe").load((ROOT / "mitm.conf").read_text())
LINES_MAX = {"README.md": 200}
LINES_MAX_OF_OTHERS = 250
SENTENCE_LENGTH_MIN = 60
COMMANDS_OF_MITMPROXY = {
    name
    for path in (ROOT / "mitm").rglob("*.py")
    for name in re.findall(r"@command\.command\(\"([\w.]+)\"\)", path.read_text())
}
_LINK = re.compile(r"(?:\]\(|\b(?:src|srcset|href)=\")([^)\s\"]+)[)\"]")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
every_page = pytest.mark.parametrize("path", PAGES)


def test_options_are_documented() -> None:
    """The page has the table as it is printed, and mitmproxy's own `mode`."""
    assert format_table() in PAGES["docs/settings.md"]
    assert f"`{CONF['mode'][0]}`" in PAGES["docs/settings.md"]


@pytest.mark.parametrize("name", [*VARIABLES, *(row.name for row in OPTIONS)])
def test_option_is_explained(name: str) -> None:
    """Each has a row, so that it is found by its name."""
    assert re.search(rf"^\|.*`{name}` \|", PAGES["docs/settings.md"], re.MULTILINE)


def counted() -> Metrics:
    """Return metrics in which everything was counted once."""
    connections = Connections()
    connections.limit(Limits(1, 1, 1, 1, 1))
    metrics = Metrics(connections)
    metrics.count(Record("id", (), "GET", "/"))
    metrics.note(ApiRequest(Endpoint.TOKEN, 0.1))
    return metrics


def test_metrics_are_documented() -> None:
    """The table has every metric of the proxy, with its labels."""
    shown = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in counted().registry.collect()
        if family.name.startswith(PREFIX)
    }
    row = re.compile(rf"^\| `({PREFIX}\w+)` \| (.*?) ?\|", re.MULTILINE)
    table = dict(row.findall(PAGES["docs/operating.md"]))
    assert set(table) == set(shown)
    for name, family in shown.items():
        labels = {label for sample in family.samples for label in sample.labels}
        assert set(re.findall(r"`(\w+)`", table[name])) == labels - {"le"}


def test_version_is_that_of_the_project() -> None:
    """The metrics tell the version that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_examples_name_this_version() -> None:
    """A wheel and an image that are named are those of this version."""
    named = re.findall(
        r"balena_registry_proxy-([\d.]+)-|:(\d+\.\d+\.\d+) \\\n", DOCUMENTATION
    )
    assert {"".join(each) for each in named} == {VERSION}


def test_examples_name_a_python_for_the_wheel() -> None:
    """The Python that pipx takes otherwise may be too old for the wheel."""
    installs = re.findall(r"^pipx install (?!--force).*", DOCUMENTATION, re.MULTILINE)
    assert installs
    assert all("--python python3.12 " in line for line in installs)


def test_targets_are_documented() -> None:
    """`make help` describes every target but those that install for others."""
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert {name for name in targets - described if "install-" not in name} == set()


@pytest.mark.parametrize(
    "target", re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
)
def test_target_is_mentioned(target: str) -> None:
    """Somebody who reads the pages meets each target once."""
    assert re.search(rf"\bmake (-s |[a-z]+ )*{target}\b", DOCUMENTATION)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_mentioned(command: str) -> None:
    """A command is named, or the target that calls it."""
    assert re.search(rf"\b(registry-proxy|make) {command}\b", DOCUMENTATION)


@pytest.mark.parametrize("command", sorted(COMMANDS_OF_MITMPROXY))
def test_command_of_mitmproxy_is_explained(command: str) -> None:
    """The table of commands has it."""
    row = rf"^\| `{re.escape(command)}[` ]"
    assert re.search(row, PAGES["docs/debugging.md"], re.MULTILINE)


def test_there_are_commands_of_mitmproxy() -> None:
    """The test above finds some."""
    assert "balena.explain" in COMMANDS_OF_MITMPROXY


def test_keys_of_mitm_conf_exist() -> None:
    """Mitmproxy ignores a misspelt key in silence, so each is looked up here."""

    async def names() -> set[str]:
        return set(DumpMaster(Options(), with_termlog=False).options.keys())

    assert set(CONF) <= asyncio.run(names())


def test_architecture_names_files_that_there_are() -> None:
    """Who looks for something by the page finds it."""
    names = set(re.findall(r"`([\w/]+\.py)`", PAGES["docs/architecture.md"]))
    rooms = [*ROOT.glob("resolver/*/"), *ROOT.glob("mitm/*/"), ROOT]
    rooms += [ROOT / "mitm", ROOT / "resolver"]
    missing = {
        name for name in names if not any((room / name).exists() for room in rooms)
    }
    assert not missing


@every_page
def test_files_that_are_named_exist(path: str) -> None:
    """A file of the project that a page names in code is where it says."""
    roots = "deploy|docs|tools|tests|mitm|resolver|registry_proxy|bench|soak|report"
    named = re.findall(rf"`((?:{roots}|\.ci)/[\w./-]*)`", prose(PAGES[path]))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_programs_of_the_tests_are_listed() -> None:
    """Who lacks one is told what to install; the page and CI have the whole list."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    found = set(re.findall(r"\bfind_tool\(\"([\w-]+)\"", tests))
    assert found <= {*PACKAGES} <= set(re.findall(r"\"([\w-]+)\"", tests))
    page = PAGES["CONTRIBUTING.md"]
    section = page.partition("\n## What the tests need")[2].partition("\n## ")[0]
    listed = set(re.findall(r"[\w.-]+\w", section))
    installed = set(re.findall(r"[\w.-]+\w", (ROOT / ".ci" / "run").read_text()))
    for package in PACKAGES.values():
        assert package in listed
        assert package in installed


def test_every_claim_of_security_is_tried() -> None:
    """Each numbered claim of docs/security.md is in the docstring of a test."""
    page = PAGES["docs/security.md"]
    claims = set(re.findall(r"^\| (T\d+) \|", page, re.MULTILINE))
    tests = (ROOT / "tests").rglob("test_*.py")
    texts = "".join(path.read_text() for path in tests)
    assert len(claims) > 10
    assert claims == set(re.findall(r"\((T\d+)\)", texts))


def test_rules_that_are_cited_exist() -> None:
    """What code and tests cite by number is in docs/design.md."""
    page = PAGES["docs/design.md"]
    rules = set(re.findall(r"^- ([RS]\d+) ", page, re.MULTILINE))
    sections = set(re.findall(r"^## (\d+)\. ", page, re.MULTILINE))
    folders = ("mitm", "resolver", "tests")
    files = [path for each in folders for path in (ROOT / each).rglob("*.py")]
    code = "\n".join(path.read_text() for path in [*files, ROOT / "addon.py"])
    cited = set(re.findall(r"(?:\brule |\()([RS]\d+)\b", code))
    assert len(cited) > 15
    assert cited <= rules
    assert set(re.findall(r"design section (\d+)", code)) <= sections


@every_page
def test_page_is_short(path: str) -> None:
    """A page is read in one go."""
    lines = PAGES[path].count("\n")
    assert lines <= LINES_MAX.get(path, LINES_MAX_OF_OTHERS - 1)


@every_page
def test_page_is_reached_from_the_readme(path: str) -> None:
    """It is one click away."""
    name = path.removesuffix("README.md")
    assert not name or f"]({name}" in PAGES["README.md"]


@every_page
def test_page_says_for_whom(path: str) -> None:
    """The first paragraph of each page does, so that others leave it at once."""
    if path.startswith("docs/") or path == "CONTRIBUTING.md":
        paragraph = PAGES[path].split("\n\n")[1]
        assert paragraph.startswith("For ")


def anchors(page: str) -> set[str]:
    """Return what its headings can be linked by, as GitHub makes them."""
    kept = (
        re.sub(r"[^\w\- ]", "", text.lower()) for text in _HEADING.findall(prose(page))
    )
    return {text.replace(" ", "-") for text in kept}


@every_page
def test_links_lead_somewhere(path: str) -> None:
    """Files and headings that are linked exist."""
    page = ROOT / path
    for link in _LINK.findall(prose(PAGES[path])):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def sentences(page: str) -> set[str]:
    """Return what is worth a comparison: sentences, and rows of tables; no pictures."""
    text = re.sub(r"<picture>.*?</picture>", "", prose(page), flags=re.DOTALL)
    found = re.split(r"(?<=[.:!?])\s+|\n", text)
    return {each.strip("-* ") for each in found if len(each) > SENTENCE_LENGTH_MIN}


def test_nothing_is_said_twice() -> None:
    """No sentence stands on two pages: one of them links to the other."""
    seen: dict[str, list[str]] = defaultdict(list)
    for path, page in PAGES.items():
        for sentence in sentences(page):
            seen[sentence].append(path)
    assert not {text: paths for text, paths in seen.items() if len(paths) > 1}


def _shell(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, text=True, check=False)
    assert done.returncode == 0


def _dockerfile(text: str) -> None:
    assert text.startswith("FROM ")


PARSERS: Mapping[str, Callable[[str], object]] = {
    "sh": _shell,
    "json": json.loads,
    "yaml": YAML(typ="safe").load,
    "dockerfile": _dockerfile,
    "ini": lambda text: ConfigParser(strict=True).read_string(text),
}
UNPARSED = {"", "console", "mermaid"}
"""Tests run the second; the others are for people."""


@every_page
def test_examples_parse(path: str) -> None:
    """Each is what its language says."""
    assert languages(PAGES[path]) <= PARSERS.keys() | UNPARSED
    for language, parse in PARSERS.items():
        for text in blocks(PAGES[path], language):
            parse(text)


def test_registry_secrets_have_the_shape_that_is_read() -> None:
    """The example for --registry-secrets has host, user name and password."""
    page = PAGES["docs/references.md"]
    texts = [*blocks(page, "json"), blocks(page, "yaml")[-1]]
    shown = [YAML(typ="safe").load(text) for text in texts]
    entry = {"username": "me", "password": "<API key>"}
    assert shown == [{"localhost:8080": entry}] * 2


def test_pictures_are_used() -> None:
    """Each file is shown somewhere, in light and dark."""
    files = {path.name for path in Path(ROOT / "docs" / "images").glob("*.png")}
    assert files == set(re.findall(r"images/([\w-]+\.png)", DOCUMENTATION))
    light = {name for name in files if not name.endswith("-dark.png")}
    assert {name.replace(".png", "-dark.png") for name in light} == files - light
