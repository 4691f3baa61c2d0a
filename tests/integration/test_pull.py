"""What docker and skopeo do beside a plain pull, which `tests/client` has."""

import pytest

from demo.proxy import Proxy
from tests.client.client import Docker, Skopeo
from tests.integration.registry import Installation
from tests.integration.tool import ToolError

BROWSER = "balenablocks/browser-aarch64"
PINNED_APP = "balenablocks/pinned-app"
PINNED = {
    "1.0.0": "62ff5ecdd4469f9f75d82e00ee682128",
    "1.1.0": "c94c117e5e15b559a011f53a01bf3a14",
    "2.0.0": "a37b266ac52216196df45f2d96d7f200",
    "2.1.0": "0d80e13006ef50f22a28fe3dccbb9ad0",
    "latest": "c94c117e5e15b559a011f53a01bf3a14",
}
"""What it has, by tag."""


def test_docker_login_checks_the_key(
    installation: Installation, proxy: Proxy, docker: Docker
) -> None:
    """`docker login` succeeds with a key that is known, and says why it does not."""
    assert "Succeeded" in docker.login(proxy.host, installation.cloud.keys["bob"])
    with pytest.raises(ToolError, match="does not accept these credentials"):
        docker.login(proxy.host, "no-such-key")


def test_push_is_refused(proxy: Proxy, docker: Docker) -> None:
    """A push ends with a message that says how releases are made."""
    docker.pull(f"{proxy.host}/{BROWSER}/2.3.8")
    with pytest.raises(ToolError, match="pulled, not pushed or deleted"):
        docker.docker("push", f"{proxy.host}/{BROWSER}/2.3.8")


@pytest.mark.parametrize("name", ["docker", "skopeo"])
def test_one_process_pulls_all_tags(
    installation: Installation,
    proxy: Proxy,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    """One client with one token has all of them, layers that they share included."""
    client: Docker | Skopeo = request.getfixturevalue(name)
    digests = client.pull_all(f"{proxy.host}/{PINNED_APP}")
    assert digests == [installation.digest(location) for location in PINNED.values()]
