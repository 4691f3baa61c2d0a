"""Tags with each client: they select a release, or are ignored (R9)."""

import pytest

from tests.client.client import Client
from tests.client.front import Front
from tests.client.machine import Machine
from tests.client.site import with_each_client
from tests.integration.registry import FAR, MANY
from tests.integration.tool import ToolError

BROWSER = "balenablocks/browser-aarch64"
TARGET = "567e62d1e73529e7a31757ac1f3fb902"
SELECTED = {
    f"{BROWSER}:2.3.8_rev1": "afcf4e176ef8e94685a9ded8ce9c68b4",
    f"{BROWSER}:2": "42a5403f721415ca8896ee84f840ba1b",
    f"{BROWSER}/2.3.6:whatever": "738b9bb0c180865b14cbda0a0728a5ae",
    f"{BROWSER}:latest": TARGET,
}
CANNOT_ASK_AGAIN = ("docker", "compose", "manifest")
"""docker's classic store, and what has its code, take no scope from a challenge."""
IGNORED = {
    f"{BROWSER}:2.3.6": TARGET,
    f"{BROWSER}/2.3.6:2.3.8": "738b9bb0c180865b14cbda0a0728a5ae",
}


@with_each_client("front", ["haproxy"])
def test_tag_selects(machine: Machine, front: Front, client: Client) -> None:
    """Tags of one application are its releases, whichever replica answers."""
    for name, location in SELECTED.items():
        digest = machine.call(front.pull, client, name)
        assert digest == front.installation.digest(location), name


@with_each_client("front", ["tags ignored"], ["docker", "docker c8d", "ctr", "podman"])
def test_tag_is_ignored(machine: Machine, front: Front, client: Client) -> None:
    """Where that is wanted, a tag changes nothing."""
    for name, location in IGNORED.items():
        digest = machine.call(front.pull, client, name)
        assert digest == front.installation.digest(location), name


@with_each_client("front", ["plain", "haproxy"])
def test_tag_of_any_release(
    machine: Machine, front: Front, client: Client, far_digest: str
) -> None:
    """One beyond the list in a token comes too, or is refused with its path."""
    if client.name in CANNOT_ASK_AGAIN:
        with pytest.raises(ToolError) as refused:
            machine.call(front.pull, client, FAR)
        path = f"{MANY}/1.6.0"
        assert f"if there is one, it is pulled as {path}" in str(refused.value)
        assert machine.call(front.pull, client, path) == far_digest
    else:
        assert machine.call(front.pull, client, FAR) == far_digest
