"""Each builder of today gets all its base images, or says which one it does not get."""

import pytest

from tests.integration.client import Buildah, Client, Podman
from tests.integration.machine import Machine
from tests.integration.tool import ToolError
from tests.today.client import BuildKit
from tests.today.conftest import ALL, client_id
from tests.today.front import Front

BROWSER = "balenablocks/browser-aarch64"
BASES = {
    f"{BROWSER}/2.3.8": "567e62d1e73529e7a31757ac1f3fb902",
    "balenablocks/private-block/1.0.0": "875ff9869a2373a5d97612c498e0bcf1",
    "balenablocks/multi-app/1.0.0/db": "d69138a48bbd061c296b23ca93c0512b",
    "balenablocks/pinned-app/1": "c94c117e5e15b559a011f53a01bf3a14",
    f"{BROWSER}/11e1ee23d7ddf6ab6da99bac26c9d274": "1491e71e5fce93aa53ff96e0d993b5ae",
}
"""A public one, a private one, one image of several, a range and a commit."""
BUILDERS = [
    pair for pair in ALL if pair[1].partition(" ")[0] in {"build", "podman", "buildah"}
]


@pytest.mark.parametrize("client", BUILDERS, indirect=True, ids=client_id)
def test_five_bases(machine: Machine, plain: Front, client: Client) -> None:
    """Five base images come in one build, the private one with the key."""
    assert isinstance(client, BuildKit | Podman | Buildah)
    references = [f"{plain.host}/{name}" for name in BASES]
    key = plain.installation.cloud.keys["carol"]
    digests = machine.call(client.build_on, references, key)
    assert digests == set(map(plain.installation.digest, BASES.values()))


@pytest.mark.parametrize("client", BUILDERS, indirect=True, ids=client_id)
def test_one_of_five_is_refused(machine: Machine, plain: Front, client: Client) -> None:
    """The builder says which of them it is, and why."""
    assert isinstance(client, BuildKit | Podman | Buildah)
    names = [*list(BASES)[:3], f"{BROWSER}/9.9.9", *list(BASES)[3:]]
    key = plain.installation.cloud.keys["carol"]
    with pytest.raises(ToolError) as refused:
        machine.call(client.build_on, [f"{plain.host}/{name}" for name in names], key)
    assert f"{BROWSER} has no release 9.9.9 that can be pulled" in str(refused.value)
    assert f"{plain.host}/{BROWSER}/9.9.9" in str(refused.value)
