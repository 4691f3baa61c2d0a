"""Each client shows why there is no image (R8)."""

import re

import pytest

from registry_proxy import ROOT
from tests.client.client import Client
from tests.client.front import Front
from tests.client.machine import Machine
from tests.client.site import with_each_client
from tests.integration.tool import ToolError

BROWSER = "balenablocks/browser-aarch64"
WRONG_VERSION = f"{BROWSER}/9.9.9"
WITH_WRONG_KEY = f"{BROWSER}/2.3.8"
WORDS = {
    WRONG_VERSION: f"{BROWSER} has no release 9.9.9 that can be pulled; its newest are",
    f"{BROWSER}:9.9.9": f"{BROWSER} has no release 9.9.9",
    "nobody/nothing": "nobody/nothing is private or does not exist: check its name",
    "balenablocks/multi-app/1.0.0": "has several images: db, web; name one",
    "alpine": "'alpine' does not name a release: use <org>/<app>",
    WITH_WRONG_KEY: "does not accept these credentials",
}
PAGE = (ROOT / "docs" / "references.md").read_text()
_ROW = re.compile(r"^\| `(\S+)` \| `([^`]+)` \| [^|`]+ \|$", re.MULTILINE)
_TABLE = PAGE.partition("| pulled | docker says |")[2].partition("\n\n")[0]
SHOWN = _ROW.findall(_TABLE)
"""What the page says that docker says of a pull."""


def refusal(
    machine: Machine, front: Front, client: Client, name: str, key: str | None = None
) -> str:
    """Return what the client shows in place of an image."""
    with pytest.raises(ToolError) as refused:
        machine.call(front.pull, client, name, key)
    return str(refused.value)


@pytest.mark.parametrize("client", [("sid", "docker c8d")], indirect=True, ids=str)
def test_page_quotes_docker(machine: Machine, plain: Front, client: Client) -> None:
    """The table of failures has the words that its user sees."""
    assert len(SHOWN) > 6
    for name, shown in SHOWN:
        pattern = ".*".join(map(re.escape, shown.split("…")))
        assert re.search(pattern, refusal(machine, plain, client, name)), name


@with_each_client("name", WORDS)
def test_reason_is_shown(
    machine: Machine, plain: Front, client: Client, name: str
) -> None:
    """Wrong version, tag or key, private or absent, several images, malformed name."""
    key = "no-such-key" if name == WITH_WRONG_KEY else None
    assert WORDS[name] in refusal(machine, plain, client, name, key)


@with_each_client("front", ["haproxy tls", "nginx"])
def test_reason_passes(machine: Machine, front: Front, client: Client) -> None:
    """It is shown whoever ends the client's connection."""
    assert WORDS[WRONG_VERSION] in refusal(machine, front, client, WRONG_VERSION)
