"""Each builder gets all its base images, or says which one it does not get."""

import pytest

from tests.client.client import Buildah, BuildKit, Client, Podman
from tests.client.front import Front
from tests.client.machine import Machine
from tests.client.site import with_each_client
from tests.integration.tool import ToolError

BROWSER = "balenablocks/browser-aarch64"
BASES = {
    f"{BROWSER}/2.3.8": "567e62d1e73529e7a31757ac1f3fb902",
    "balenablocks/private-block/1.0.0": "875ff9869a2373a5d97612c498e0bcf1",
    "balenablocks/multi-app/1.0.0/db": "d69138a48bbd061c296b23ca93c0512b",
    "balenablocks/pinned-app/1": "c94c117e5e15b559a011f53a01bf3a14",
    f"{BROWSER}/11e1ee23d7ddf6ab6da99bac26c9d274": "1491e71e5fce93aa53ff96e0d993b5ae",
}
"""A public one, a private one, one image of several, a range and a commit."""
BUILDERS = ("build", "build c8d", "podman", "buildah")


@with_each_client("version", ["2.3.8", "9.9.9"], BUILDERS)
def test_five_bases(
    machine: Machine, plain: Front, client: Client, version: str
) -> None:
    """Five base images come in one build, the private one with the key, or none.

    The builder then says which of them it is, and why.
    """
    assert isinstance(client, BuildKit | Podman | Buildah)
    names = [name.replace("2.3.8", version) for name in reversed(BASES)]
    references = [f"{plain.host}/{name}" for name in names]
    key = plain.installation.cloud.keys["carol"]
    if version == "2.3.8":
        digests = machine.call(client.build_on, references, key)
        assert digests == set(map(plain.installation.digest, BASES.values()))
        return
    with pytest.raises(ToolError) as refused:
        machine.call(client.build_on, references, key)
    assert f"{BROWSER} has no release 9.9.9 that can be pulled" in str(refused.value)
    assert f"{plain.host}/{BROWSER}/9.9.9" in str(refused.value)
