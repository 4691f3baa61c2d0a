"""Tags with each client of today: they select a release, or are ignored (R9)."""

import pytest

from tests.integration.client import Client
from tests.integration.machine import Machine
from tests.integration.registry import FAR, MANY
from tests.integration.tool import ToolError
from tests.today.front import Front

BROWSER = "balenablocks/browser-aarch64"
TARGET = "567e62d1e73529e7a31757ac1f3fb902"
SELECTED = {
    f"{BROWSER}:2.3.8_rev1": "afcf4e176ef8e94685a9ded8ce9c68b4",
    f"{BROWSER}:2": "42a5403f721415ca8896ee84f840ba1b",
    f"{BROWSER}/2.3.6:whatever": "738b9bb0c180865b14cbda0a0728a5ae",
}
CANNOT_ASK_AGAIN = ("docker", "compose", "manifest")
"""docker's classic store, and what has its code, take no scope from a challenge."""
IGNORED = {
    f"{BROWSER}:2.3.6": TARGET,
    f"{BROWSER}/2.3.6:2.3.8": "738b9bb0c180865b14cbda0a0728a5ae",
}


@pytest.mark.parametrize("front", ["haproxy"], indirect=True)
def test_tag_selects(machine: Machine, front: Front, client: Client) -> None:
    """Tags of one application are its releases, whichever replica answers."""
    for name, location in SELECTED.items():
        digest = machine.call(front.pull, client, name)
        assert digest == front.installation.digest(location), name


@pytest.mark.parametrize("front", ["tags ignored"], indirect=True)
def test_tag_is_ignored(machine: Machine, front: Front, client: Client) -> None:
    """Where that is wanted, a tag changes nothing."""
    for name, location in IGNORED.items():
        digest = machine.call(front.pull, client, name)
        assert digest == front.installation.digest(location), name


@pytest.mark.parametrize("front", ["plain", "haproxy"], indirect=True)
def test_tag_of_any_release(
    machine: Machine,
    front: Front,
    client: Client,
    far_digest: str,
) -> None:
    """One beyond the list in a token comes too, or is refused with its path."""
    if client.name in CANNOT_ASK_AGAIN:
        with pytest.raises(ToolError) as refused:
            machine.call(front.pull, client, FAR)
        assert f"any other is pulled as {MANY}/1.6.0" in str(refused.value)
    else:
        assert machine.call(front.pull, client, FAR) == far_digest
