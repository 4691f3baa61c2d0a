"""Each client of today shows why there is no image (R8)."""

import re

import pytest

import serve
from tests.integration.client import Client
from tests.integration.machine import Machine
from tests.integration.tool import ToolError
from tests.today.conftest import client_id
from tests.today.front import Front

BROWSER = "balenablocks/browser-aarch64"
WRONG_VERSION = f"{BROWSER}/9.9.9"
WORDS = {
    WRONG_VERSION: f"{BROWSER} has no release 9.9.9 that can be pulled; its newest are",
    f"{BROWSER}:9.9.9": f"{BROWSER} has no release 9.9.9",
    "nobody/nothing": "nobody/nothing is private or does not exist: check its name",
    "balenablocks/multi-app/1.0.0": "has several images: db, web; name one",
    "alpine": "'alpine' does not name a release: use <org>/<app>",
}
WRONG_KEY = "does not accept these credentials"

README = (serve.ROOT / "README.md").read_text()
_ROW = re.compile(r"^\| `(\S+)` \| `([^`]+)` \| [^|`]+ \|$", re.MULTILINE)
_TABLE = README.partition("| pulled | docker says |")[2].partition("\n\n")[0]
SHOWN = _ROW.findall(_TABLE)
"""What the README says that docker of today says of a pull."""


@pytest.mark.parametrize(
    "client", [("sid", "docker c8d")], indirect=True, ids=client_id
)
def test_readme_quotes_docker(machine: Machine, plain: Front, client: Client) -> None:
    """The table of failures has the words that its user sees."""
    assert len(SHOWN) > 6
    for name, shown in SHOWN:
        with pytest.raises(ToolError) as refused:
            machine.call(plain.pull, client, name)
        pattern = ".*".join(map(re.escape, shown.split("…")))
        assert re.search(pattern, str(refused.value)), name


@pytest.mark.parametrize(("name", "words"), WORDS.items(), ids=WORDS)
def test_reason_is_shown(
    machine: Machine, plain: Front, client: Client, name: str, words: str
) -> None:
    """Wrong version or tag, private or absent, several images, malformed name."""
    with pytest.raises(ToolError) as refused:
        machine.call(plain.pull, client, name)
    assert words in str(refused.value)


def test_wrong_key_is_said(machine: Machine, plain: Front, client: Client) -> None:
    """A key that nobody has is called wrong."""
    with pytest.raises(ToolError) as refused:
        machine.call(plain.pull, client, f"{BROWSER}/2.3.8", "no-such-key")
    assert WRONG_KEY in str(refused.value)


@pytest.mark.parametrize(
    "front", ["tls", "haproxy", "haproxy tls", "nginx"], indirect=True
)
def test_reason_passes(machine: Machine, front: Front, client: Client) -> None:
    """It is shown whoever ends the client's connection."""
    with pytest.raises(ToolError) as refused:
        machine.call(front.pull, client, WRONG_VERSION)
    assert WORDS[WRONG_VERSION] in str(refused.value)
