"""Each client pulls the right image, in whatever way it reaches the proxy.

The locations are those that the real API answered for the same selectors.
"""

import pytest

from tests.client.client import Client
from tests.client.front import Front
from tests.client.machine import Machine
from tests.client.site import HERE_NAME, with_each_client, with_some_client
from tests.integration.tool import ToolError

FRONTS = ("plain", "tls", "nginx", "haproxy tls", "blobs redirected", "blobs followed")
PRIVATE = "balenablocks/private-block/1.0.0"
PRIVATE_LOCATION = "875ff9869a2373a5d97612c498e0bcf1"
BROWSER = "balenablocks/browser-aarch64"
TARGET = "567e62d1e73529e7a31757ac1f3fb902"
SECOND_REVISION = "afcf4e176ef8e94685a9ded8ce9c68b4"
PINNED = "c94c117e5e15b559a011f53a01bf3a14"
REFERENCES = {
    BROWSER: TARGET,
    f"{BROWSER}/2.3.8:whatever": TARGET,
    f"{BROWSER}:2.3": TARGET,
    f"{BROWSER}/2.3": TARGET,
    f"{BROWSER}/2.3.8_rev1": SECOND_REVISION,
    f"{BROWSER}/1.7.0/helper": "5c3b79fc175eccf402eaf1f3e23cd692",
    f"{BROWSER}/2.4.1-1648554962021": "d5b846215f5554738ff927036128e276",
    f"{BROWSER}/11e1ee23d7ddf6ab6da99bac26c9d274": "1491e71e5fce93aa53ff96e0d993b5ae",
    "balenablocks/pinned-app": PINNED,
}
TWO_PLATFORMS = "otherorg/tracker/5.0.0"
WITH_DIGESTS = ("docker", "ctr", "podman", "buildah", "skopeo")
"""Clients whose digest of an index is the index's own."""


@with_each_client("front", FRONTS)
def test_in_each_way(machine: Machine, front: Front, client: Client) -> None:
    """A private one is pulled with an API key, which no storage ever sees."""
    before = len(front.storage.fetched) if front.storage else 0
    key = front.installation.cloud.keys["carol"]
    digest = machine.call(front.pull, client, PRIVATE, key)
    assert digest == front.installation.digest(PRIVATE_LOCATION)
    if front.storage and client.name not in {"manifest", "imagetools"}:
        fetched = front.storage.fetched[before:]
        assert fetched
        assert all(one.rest.endswith(" -") for one in fetched)


@with_each_client("front", ["blobs kept"])
def test_from_the_cache(machine: Machine, front: Front, client: Client) -> None:
    """The second pull of a private one asks the storage for nothing."""
    key = front.installation.cloud.keys["carol"]
    assert front.storage
    for _ in range(2):
        before = len(front.storage.fetched)
        digest = machine.call(front.pull, client, PRIVATE, key)
        assert digest == front.installation.digest(PRIVATE_LOCATION)
        machine.call(client.forget)
    assert len(front.storage.fetched) == before


@with_some_client("reference", REFERENCES)
def test_each_reference(
    machine: Machine, plain: Front, client: Client, reference: str
) -> None:
    """A version, draft, commit or no selector, with any tag, pulls that image."""
    digest = machine.call(plain.pull, client, reference)
    assert digest == plain.installation.digest(REFERENCES[reference])


@pytest.mark.parametrize(
    "client", [(HERE_NAME, name) for name in WITH_DIGESTS], ids=str, indirect=True
)
def test_by_digest(machine: Machine, plain: Front, client: Client) -> None:
    """It is that of whichever release has it, also of two platforms, or is absent."""
    index = plain.installation.digest("dc8f1bfe00175d72b481a1a5badc85bb")
    assert machine.call(plain.pull, client, TWO_PLATFORMS) == index
    for name, location in ((BROWSER, SECOND_REVISION), (f"{BROWSER}/2.3.8", TARGET)):
        digest = plain.installation.digest(location)
        assert machine.call(plain.pull, client, f"{name}@{digest}") == digest
        absent = f"{name}@{plain.installation.digest(PINNED)}"
        with pytest.raises(ToolError, match=r"not found|unknown|in none of the"):
            machine.call(plain.pull, client, absent)
