"""How many requests of the API a pull costs, with each client."""

from collections.abc import Iterator

import pytest

from tests.client.client import Client
from tests.client.front import Front
from tests.client.machine import Machine
from tests.client.site import CLIENTS, with_each_client
from tests.integration.registry import Installation, seed

TOKENS = {
    # BuildKit keeps its token for the next build.
    **dict.fromkeys(("build", "build c8d"), (1, 0)),
    # containerd's resolver and its fetcher have a token each.
    **dict.fromkeys(("ctr", "ctr mirror", "cri", "cri mirror"), (2, 2)),
}
"""Requests for a token in the first pull of a release, and the next; others, one."""
MARKS = {"path": "/", "tag": ":"}


@pytest.fixture(scope="module")
def releases(installation: Installation) -> Iterator[tuple[str, str]]:
    """An application, and the digest of its only release, for each pull to count."""
    cloud, made = installation.cloud, {}
    for number in range(len(MARKS) * len(CLIENTS)):
        slug = f"balenablocks/counted{number}"
        cloud.add_application(slug)
        cloud.add_release(slug, "1.0.0", is_target=True)
        made[slug] = cloud.images[-1]
    seed(made.values(), installation.storage.parent)
    return iter([(slug, image.digest) for slug, image in made.items()])


@with_each_client("kind", MARKS)
def test_requests_of_a_pull(
    machine: Machine,
    plain: Front,
    client: Client,
    releases: Iterator[tuple[str, str]],
    kind: str,
) -> None:
    """The first pull costs one look-up, the next one none, and both few tokens."""
    slug, digest = next(releases)
    cloud = plain.installation.cloud
    counts = []
    for _ in range(2):
        cloud.requests.clear()
        name = f"{slug}{MARKS[kind]}1.0.0"
        assert machine.call(plain.pull, client, name) == digest
        paths = [request.path for request in cloud.requests]
        tokens = paths.count("/auth/v1/token")
        counts.append((len(paths) - tokens, tokens))
        machine.call(client.forget)
    assert counts == list(zip((1, 0), TOKENS.get(client.name, (1, 1)), strict=True))
