"""What docker and skopeo do beside a plain pull, which `tests/client` has."""

import pytest

from demo.proxy import Proxy
from tests.client.client import Docker, Skopeo
from tests.integration.balancer import Replica
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import ToolError

BROWSER = "balenablocks/browser-aarch64"
PINNED_APP = "balenablocks/pinned-app"
NEWEST_REVISION = "567e62d1e73529e7a31757ac1f3fb902"
SECOND_REVISION = "afcf4e176ef8e94685a9ded8ce9c68b4"
PRIVATE = "875ff9869a2373a5d97612c498e0bcf1"
PINNED = {
    "1.0.0": "62ff5ecdd4469f9f75d82e00ee682128",
    "1.1.0": "c94c117e5e15b559a011f53a01bf3a14",
    "2.0.0": "a37b266ac52216196df45f2d96d7f200",
    "2.1.0": "0d80e13006ef50f22a28fe3dccbb9ad0",
    "latest": "c94c117e5e15b559a011f53a01bf3a14",
}
"""What balenablocks/pinned-app has, by tag."""


def test_member_pulls_private_application(
    installation: Installation, proxy: Proxy, skopeo: Skopeo
) -> None:
    """A key that may see the application pulls it, and no other."""
    reference = f"{proxy.host}/balenablocks/private-block/1.0.0"
    keys = installation.cloud.keys
    for stranger in (None, keys["bob"]):
        with pytest.raises(ToolError, match="denied"):
            skopeo.pull(reference, stranger)
    assert skopeo.pull(reference, keys["carol"]) == installation.digest(PRIVATE)


def test_wrong_key_is_asked_for(
    installation: Installation, proxy: Proxy, skopeo: Skopeo
) -> None:
    """A key that the API does not know is refused, not taken for nobody's."""
    before = len(installation.cloud.requests)
    with pytest.raises(ToolError, match=r"does not accept these|401|authoriz"):
        skopeo.pull(f"{proxy.host}/{BROWSER}/2.3.8", "no-such-key")
    assert len(installation.cloud.requests) > before


def test_docker_builds_on_a_release(proxy: Proxy, docker: Docker) -> None:
    """`docker build --pull` takes its base image from the proxy, without BuildKit."""
    image = docker.build(f"{proxy.host}/{BROWSER}/2.3.8")
    assert '"test":"built"' in image


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
        docker.push(f"{proxy.host}/{BROWSER}/2.3.8")
    with plain_session() as session:
        answer = session.post(
            f"http://{proxy.host}/v2/{BROWSER}/blobs/uploads/", timeout=TIMEOUT
        )
    assert "balena push" in answer.json()["errors"][0]["message"]


def test_skopeo_inspects(
    installation: Installation, proxy: Proxy, skopeo: Skopeo
) -> None:
    """`skopeo inspect` shows the digest under the name that was asked for."""
    shown = skopeo.inspect(f"{proxy.host}/{BROWSER}/2.3.8")
    assert shown["Digest"] == installation.digest(NEWEST_REVISION)
    assert shown["Name"] == f"{proxy.host}/{BROWSER}/2.3.8"


@pytest.mark.parametrize(
    ("name", "tags"), [(f"{BROWSER}/2.3.8", ["latest"]), (PINNED_APP, [*PINNED])]
)
def test_skopeo_lists_tags(
    proxy: Proxy, skopeo: Skopeo, name: str, tags: list[str]
) -> None:
    """`skopeo list-tags` shows the tag that balena stores, or what tags select."""
    assert skopeo.tags(f"{proxy.host}/{name}") == tags


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


def test_restart_in_between(installation: Installation, docker: Docker) -> None:
    """What a proxy forgets when it ends, the one after it finds again."""
    digest = installation.digest(SECOND_REVISION)
    with Replica("replica", installation) as replica:
        reference = f"localhost:{replica.port}/{BROWSER}"
        assert docker.pull(f"{reference}:2.3.8_rev1") == digest
        docker.forget()
        replica.kill()
        replica.restart()
        assert docker.pull(f"{reference}@{digest}") == digest
