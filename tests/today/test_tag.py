"""Tags with each client of today: they select a release, or are ignored (R9)."""

import pytest

from localcloud.image import Image
from tests.integration.client import Client
from tests.integration.machine import Machine
from tests.integration.registry import Installation, seed
from tests.integration.tool import ToolError
from tests.today.front import Front

BROWSER = "balenablocks/browser-aarch64"
TARGET = "567e62d1e73529e7a31757ac1f3fb902"
MANY = "balenablocks/many"
CANNOT_ASK_AGAIN = ("docker", "compose", "manifest")
"""docker's classic store, and what has its code, take no scope from a challenge."""
SELECTED = {
    f"{BROWSER}:2.3.8_rev1": "afcf4e176ef8e94685a9ded8ce9c68b4",
    f"{BROWSER}:2": "42a5403f721415ca8896ee84f840ba1b",
    f"{BROWSER}/2.3.6:whatever": "738b9bb0c180865b14cbda0a0728a5ae",
}
IGNORED = {
    f"{BROWSER}:2.3.6": TARGET,
    f"{BROWSER}/2.3.6:2.3.8": "738b9bb0c180865b14cbda0a0728a5ae",
}


@pytest.fixture(scope="module")
def oldest(installation: Installation) -> Image:
    """The image of the first of many releases of an application."""
    cloud = installation.cloud
    cloud.add_application(MANY)
    before = len(cloud.images)
    for number in range(1, 41):
        cloud.add_release(MANY, f"{number}.0.0", is_target=True)
    image = cloud.images[before]
    seed([image], installation.storage.parent)
    return image


@pytest.mark.parametrize("front", ["haproxy"], indirect=True)
def test_tag_selects(machine: Machine, front: Front, client: Client) -> None:
    """Tags of one application are its releases, whichever replica answers."""
    for name, location in SELECTED.items():
        digest = machine.call(front.pull, client, name)
        assert digest == front.installation.digest(location), name


@pytest.mark.parametrize("front", ["haproxy"], indirect=True)
def test_tag_far_back(
    machine: Machine, front: Front, client: Client, oldest: Image
) -> None:
    """A release beyond those that tokens list is found by its tag, or its path told."""
    if client.name in CANNOT_ASK_AGAIN:
        with pytest.raises(ToolError) as refused:
            machine.call(front.pull, client, f"{MANY}:1.0.0")
        assert f"{MANY} has no release 1.0.0 among the 20" in str(refused.value)
        assert f"pulled as {MANY}/1.0.0" in str(refused.value)
        return
    digest = machine.call(front.pull, client, f"{MANY}:1.0.0")
    assert digest == oldest.digest


@pytest.mark.parametrize("front", ["tags ignored"], indirect=True)
def test_tag_is_ignored(machine: Machine, front: Front, client: Client) -> None:
    """Where that is wanted, a tag changes nothing."""
    for name, location in IGNORED.items():
        digest = machine.call(front.pull, client, name)
        assert digest == front.installation.digest(location), name
