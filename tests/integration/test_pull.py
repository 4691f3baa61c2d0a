"""Every client pulls the right image, through the real proxy from the real registry.

The locations are those that the real API answered for the same selectors.
"""

import pytest

from demo.proxy import Proxy
from tests.integration.client import Client, Docker, Skopeo
from tests.integration.registry import Installation
from tests.integration.tool import ToolError

BROWSER = "balenablocks/browser-aarch64"
NEWEST_REVISION = "567e62d1e73529e7a31757ac1f3fb902"
FIRST_REVISION = "1491e71e5fce93aa53ff96e0d993b5ae"
SECOND_REVISION = "afcf4e176ef8e94685a9ded8ce9c68b4"
HELPER = "5c3b79fc175eccf402eaf1f3e23cd692"
DRAFT = "d5b846215f5554738ff927036128e276"
PINNED = "c94c117e5e15b559a011f53a01bf3a14"
TWO_PLATFORMS = "dc8f1bfe00175d72b481a1a5badc85bb"
PRIVATE = "875ff9869a2373a5d97612c498e0bcf1"

REFERENCES = {
    f"{BROWSER}/2.3.8": NEWEST_REVISION,
    f"{BROWSER}/2.3.8:whatever": NEWEST_REVISION,
    f"{BROWSER}:2.3": NEWEST_REVISION,
    f"{BROWSER}/2.3": NEWEST_REVISION,
    f"{BROWSER}/2.3.8_rev1": SECOND_REVISION,
    f"{BROWSER}/1.7.0/helper": HELPER,
    f"{BROWSER}/2.4.1-1648554962021": DRAFT,
    f"{BROWSER}/11e1ee23d7ddf6ab6da99bac26c9d274": FIRST_REVISION,
    "balenablocks/pinned-app": PINNED,
    "otherorg/tracker/5.0.0": TWO_PLATFORMS,
}


@pytest.mark.parametrize(
    ("reference", "location"), REFERENCES.items(), ids=REFERENCES.keys()
)
def test_client_pulls_the_image(
    installation: Installation,
    proxy: Proxy,
    client: Client,
    reference: str,
    location: str,
) -> None:
    """A version, draft, commit or no selector, with any tag, pulls that image."""
    digest = client.pull(f"{proxy.host}/{reference}")
    assert digest == installation.digest(location)


def test_member_pulls_private_application(
    installation: Installation, proxy: Proxy, client: Client
) -> None:
    """A key that may see the application pulls it, and no other."""
    reference = f"{proxy.host}/balenablocks/private-block/1.0.0"
    keys = installation.cloud.keys
    for stranger in (None, keys["bob"]):
        with pytest.raises(ToolError, match=r"denied|403|authoriz"):
            client.pull(reference, stranger)
    assert client.pull(reference, keys["carol"]) == installation.digest(PRIVATE)


@pytest.mark.parametrize(
    ("reference", "other"), [(BROWSER, PINNED), (f"{BROWSER}/2.3.8", FIRST_REVISION)]
)
def test_digest_is_never_replaced(
    installation: Installation,
    proxy: Proxy,
    client: Client,
    reference: str,
    other: str,
) -> None:
    """An image pulled by its digest is that one, and another release's is not found."""
    digest = installation.digest(NEWEST_REVISION)
    assert client.pull(f"{proxy.host}/{reference}@{digest}") == digest
    with pytest.raises(ToolError, match=r"not found|unknown|in none of the"):
        client.pull(f"{proxy.host}/{reference}@{installation.digest(other)}")


def test_docker_builds_on_a_release(proxy: Proxy, docker: Docker) -> None:
    """`docker build --pull` takes its base image from the proxy."""
    image = docker.build(f"{proxy.host}/{BROWSER}/2.3.8")
    assert '"test":"built"' in image


def test_skopeo_inspects(
    installation: Installation, proxy: Proxy, skopeo: Skopeo
) -> None:
    """`skopeo inspect` shows the digest under the name that was asked for."""
    shown = skopeo.inspect(f"{proxy.host}/{BROWSER}/2.3.8")
    assert shown["Digest"] == installation.digest(NEWEST_REVISION)
    assert shown["Name"] == f"{proxy.host}/{BROWSER}/2.3.8"


def test_skopeo_lists_tags(proxy: Proxy, skopeo: Skopeo) -> None:
    """`skopeo list-tags` shows the one tag that balena stores."""
    assert skopeo.tags(f"{proxy.host}/{BROWSER}/2.3.8") == ["latest"]


def test_docker_login_checks_the_key(
    installation: Installation, proxy: Proxy, docker: Docker
) -> None:
    """`docker login` succeeds with a key that is known, and says why it does not."""
    assert "Succeeded" in docker.login(proxy.host, installation.cloud.keys["bob"])
    with pytest.raises(ToolError, match="does not accept these credentials"):
        docker.login(proxy.host, "no-such-key")
