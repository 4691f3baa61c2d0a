"""How many requests of the API a pull costs, with each client."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from localcloud import LocalCloud
from tests.client.client import Client
from tests.client.front import Front
from tests.client.machine import Machine
from tests.client.site import CLIENTS, with_each_client
from tests.integration.registry import Installation, seed

TOKENS = {
    "docker": (1, 1),
    "docker c8d": (1, 1),
    # BuildKit keeps its token for the next build.
    "build": (1, 0),
    "build c8d": (1, 0),
    "compose": (1, 1),
    "compose c8d": (1, 1),
    "manifest": (1, 1),
    "imagetools": (1, 1),
    # containerd's resolver and its fetcher have a token each.
    "ctr": (2, 2),
    "ctr mirror": (2, 2),
    "cri": (2, 2),
    "cri mirror": (2, 2),
    "podman": (1, 1),
    "buildah": (1, 1),
    "skopeo": (1, 1),
    "crane": (1, 1),
    "oras": (1, 1),
}
"""Requests for a token in the first pull of a release, and in the next one."""
MARKS = {"path": "/", "tag": ":"}


@dataclass(frozen=True, slots=True)
class Release:
    """The only one of its application, which nobody has pulled yet."""

    slug: str
    digest: str


@pytest.fixture(scope="module")
def releases(installation: Installation) -> Iterator[Release]:
    """As many of them as there are pulls to count."""
    cloud, images = installation.cloud, []
    slugs = [
        f"balenablocks/counted{number}" for number in range(len(MARKS) * len(CLIENTS))
    ]
    for slug in slugs:
        cloud.add_application(slug)
        cloud.add_release(slug, "1.0.0", is_target=True)
        images.append(cloud.images[-1])
    seed(images, installation.storage.parent)
    digests = (image.digest for image in images)
    return iter(list(map(Release, slugs, digests)))


@with_each_client("kind", MARKS)
def test_requests_of_a_pull(
    machine: Machine,
    plain: Front,
    client: Client,
    releases: Iterator[Release],
    kind: str,
) -> None:
    """The first pull costs one look-up, the next one none, and both few tokens."""
    release = next(releases)
    cloud = plain.installation.cloud
    counts = []
    for _ in range(2):
        cloud.requests.clear()
        digest = machine.call(plain.pull, client, f"{release.slug}{MARKS[kind]}1.0.0")
        assert digest == release.digest
        counts.append(_count(cloud))
        machine.call(client.forget)
    assert counts == list(zip((1, 0), TOKENS[client.name], strict=True))


def _count(cloud: LocalCloud) -> tuple[int, int]:
    """Return how many look-ups there were, and how many requests for a token."""
    paths = [request.path for request in cloud.requests]
    tokens = paths.count("/auth/v1/token")
    return len(paths) - tokens, tokens
