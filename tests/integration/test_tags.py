"""Where tags select, every client pulls `org/app:2.3` as it pulls `org/app/2.3`."""

from collections.abc import Iterator

import pytest

from demo.proxy import Proxy
from tests.integration.balancer import Balancer, Replica, balancing
from tests.integration.client import Client, Docker, Skopeo
from tests.integration.registry import FAR, Installation
from tests.integration.tool import ToolError, wait_until

BROWSER = "balenablocks/browser-aarch64"
NEWEST_REVISION = "567e62d1e73529e7a31757ac1f3fb902"
SECOND_REVISION = "afcf4e176ef8e94685a9ded8ce9c68b4"
PINNED = [
    "62ff5ecdd4469f9f75d82e00ee682128",
    "c94c117e5e15b559a011f53a01bf3a14",
    "a37b266ac52216196df45f2d96d7f200",
    "0d80e13006ef50f22a28fe3dccbb9ad0",
    "c94c117e5e15b559a011f53a01bf3a14",
]
"""What balenablocks/pinned-app stores as 1.0.0, 1.1.0, 2.0.0, 2.1.0 and latest."""
TAGS = {
    "2": "42a5403f721415ca8896ee84f840ba1b",
    "2.3": NEWEST_REVISION,
    "2.3.8_rev1": SECOND_REVISION,
    "11e1ee2": "1491e71e5fce93aa53ff96e0d993b5ae",
}
DRAFT = "2.4.1-1648554962021", "d5b846215f5554738ff927036128e276"


@pytest.fixture(scope="module")
def replicas(installation: Installation) -> Iterator[tuple[Replica, Replica]]:
    """Two proxies whose tags select."""
    with (
        Replica("replica1", installation) as one,
        Replica("replica2", installation) as other,
    ):
        yield one, other


@pytest.fixture(scope="module")
def balancer(
    replicas: tuple[Replica, Replica], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Balancer]:
    """HAProxy, which gives them a client's requests in turn."""
    with balancing(tmp_path_factory.mktemp("tags"), replicas) as made:
        wait_until(lambda: made.is_up(*replicas), "both replicas are up")
        yield made


@pytest.fixture(scope="module")
def front(replicas: tuple[Replica, Replica]) -> Proxy:
    """One of them, without HAProxy."""
    return replicas[0].proxy


def test_client_pulls_by_tag(
    installation: Installation, balancer: Balancer, client: Client
) -> None:
    """Several tags of one application are its releases, whichever replica answers."""
    for tag, location in TAGS.items():
        digest = client.pull(f"{balancer.host}/{BROWSER}:{tag}")
        assert digest == installation.digest(location), tag
    latest = client.pull(f"{balancer.host}/{BROWSER}")
    assert latest == installation.digest(NEWEST_REVISION)


def test_tag_of_any_release(
    installation: Installation, balancer: Balancer, client: Client, far_digest: str
) -> None:
    """Those beyond the list in a token come too, or are refused with their path."""
    tag, location = DRAFT
    digests = {FAR: far_digest, f"{BROWSER}:{tag}": installation.digest(location)}
    for name, digest in digests.items():
        if client.name == "docker":
            with pytest.raises(ToolError) as refused:
                client.pull(f"{balancer.host}/{name}")
            path = name.replace(":", "/")
            assert f"any other is pulled as {path}" in str(refused.value)
            assert client.pull(f"{balancer.host}/{path}") == digest
        else:
            assert client.pull(f"{balancer.host}/{name}") == digest


@pytest.mark.parametrize("name", ["docker", "skopeo"])
def test_one_process_pulls_all_tags(
    installation: Installation,
    balancer: Balancer,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    """One client with one token has all of them, layers that they share included."""
    client: Docker | Skopeo = request.getfixturevalue(name)
    digests = client.pull_all(f"{balancer.host}/balenablocks/pinned-app")
    assert digests == [installation.digest(location) for location in PINNED]


def test_client_pulls_by_digest(
    installation: Installation, front: Proxy, client: Client
) -> None:
    """A digest is that of whichever release has it, and of no other application."""
    digest = installation.digest(SECOND_REVISION)
    assert client.pull(f"{front.host}/{BROWSER}@{digest}") == digest
    absent = installation.digest("c94c117e5e15b559a011f53a01bf3a14")
    with pytest.raises(ToolError, match=r"not found|unknown|in none of the"):
        client.pull(f"{front.host}/{BROWSER}@{absent}")


NEWEST = "its newest are 2.9.3, 2.9.2, 2.9.0, 2.3.8 (target), 2.3.7"
MESSAGES = {
    f"{BROWSER}:9.9.9": f"{BROWSER} has no release 9.9.9 that can be pulled; {NEWEST}",
    f"{BROWSER}:2.9.2": f"release 2.9.2+rev1 of {BROWSER} has several images: helper,"
    f" main; name one, as in {BROWSER}/2.9.2/helper",
    "balenablocks/multi-app": "has several images: db, web; name one, as in"
    " balenablocks/multi-app/latest/db",
    "balenablocks/pinned-app:0.1": "balenablocks/pinned-app has no release 0.1 that can"
    " be pulled; its newest are 2.1.0, 2.0.0, 1.1.0 (target), 1.0.0",
    "balenablocks/twins:abcdef0": "2 commits of balenablocks/twins begin with abcdef0",
    "balenablocks/empty-app:1.0.0": "it offers no version",
    "nobody/nothing:1": "nobody/nothing is private or does not exist",
}
OF_ITS_TOKEN = {
    f"{BROWSER}:9.9.9": f"{BROWSER} has no release 9.9.9 among the 19 that tags find;"
    f" {NEWEST}; any other is pulled as {BROWSER}/9.9.9",
}
"""What docker's classic store is told, which cannot ask for another token."""


def test_message_reaches_the_terminal(front: Proxy, client: Client) -> None:
    """The client shows why there is no image, and what would have worked."""
    messages = MESSAGES | (OF_ITS_TOKEN if client.name == "docker" else {})
    for name, message in messages.items():
        with pytest.raises(ToolError) as refused:
            client.pull(f"{front.host}/{name}")
        assert message in str(refused.value)


def test_selector_in_the_path_wins(
    installation: Installation, front: Proxy, docker: Docker
) -> None:
    """A path that says which release is as it was, whatever the tag."""
    digest = docker.pull(f"{front.host}/{BROWSER}/2.3.8_rev1:2.3")
    assert digest == installation.digest(SECOND_REVISION)


def test_skopeo_lists_versions(front: Proxy, skopeo: Skopeo) -> None:
    """`skopeo list-tags` shows what can be pulled, and it can."""
    tags = skopeo.tags(f"{front.host}/balenablocks/pinned-app")
    assert tags == ["1.0.0", "1.1.0", "2.0.0", "2.1.0", "latest"]


def test_restart_in_between(
    installation: Installation, replicas: tuple[Replica, Replica], docker: Docker
) -> None:
    """What a proxy forgets when it ends, the one after it finds again."""
    replica = replicas[1]
    digest = installation.digest(SECOND_REVISION)
    reference = f"localhost:{replica.port}/{BROWSER}"
    assert docker.pull(f"{reference}:2.3.8_rev1") == digest
    docker.forget()
    replica.kill()
    replica.restart()
    assert docker.pull(f"{reference}@{digest}") == digest
