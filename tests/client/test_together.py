"""Clients that pull the same at once from one address: which requests are whose."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

from demo.proxy import Proxy
from mitm.story.kind import Kind, Outcome
from report.grouping import group_requests
from report.pull import Pull
from report.recording import read_recording
from tests.client.client import Client
from tests.client.conftest import Find
from tests.client.machine import Machine
from tests.client.site import HERE_NAME, Site
from tests.integration.registry import Installation
from tests.report.test_together import as_they_come, members

NAME = "balenablocks/browser-aarch64/2.3.8"
NAMED = "v2/567e62d1e73529e7a31757ac1f3fb902"
TEN = (
    (HERE_NAME, "docker"),
    ("sid", "docker"),
    ("sid", "docker c8d"),
    ("sid", "ctr"),
    ("sid", "podman"),
    ("sid", "podman"),
    ("sid", "skopeo"),
    ("sid", "skopeo"),
    ("sid", "crane"),
    ("sid", "oras"),
)
AGENTS = {
    "docker": "docker",
    "docker c8d": "docker",
    "ctr": "containerd",
    "podman": "containers",
    "skopeo": "skopeo",
    "crane": "go-containerregistry",
    "oras": "oras",
}
"""What each of them calls itself."""


@contextmanager
def recording(installation: Installation, flows: Path) -> Iterator[Proxy]:
    """Run a proxy that saves what comes."""
    with Proxy(installation.url, arguments=("-w", str(flows))) as proxy:
        yield proxy


def pull_at_once(clients: Sequence[Client], reference: str) -> list[str]:
    """Let all begin at the same moment, and return their digests."""
    barrier = Barrier(len(clients))

    def pull(client: Client) -> str:
        barrier.wait()
        return client.pull(reference)

    with ThreadPoolExecutor(len(clients)) as threads:
        return list(threads.map(pull, clients))


def blobs_of(pull: Pull) -> Counter[str]:
    """Return how often the pull was given each blob."""
    return Counter(
        each.record.digest or ""
        for each in pull.requests
        if each.kind is Kind.BLOB and each.record.outcome is Outcome.SERVED
    )


def test_ten_clients_at_once(
    machine: Machine,
    installation: Installation,
    find_site: Find[Site],
    tmp_path: Path,
) -> None:
    """Ten that pull the same name at once are ten pulls, each with its own layers."""
    flows = tmp_path / "flows"
    clients = [find_site(site).client(name) for site, name in TEN]
    with machine.hosting(recording(installation, flows)) as proxy:
        digests = machine.call(pull_at_once, clients, f"{proxy.host}/{NAME}")
    (image,) = (each for each in installation.cloud.images if each.repository == NAMED)
    assert set(digests) == {image.digest}
    (manifest,) = (each for each in image.manifests if each.digest == image.digest)
    told = json.loads(manifest.content)
    parts = [each["digest"] for each in (told["config"], *told["layers"])]
    recorded = read_recording(flows).requests
    pulls = group_requests(recorded).pulls
    agents = sorted(AGENTS[name] for _, name in TEN)
    assert sorted(pull.agent.partition("/")[0] for pull in pulls) == agents
    for pull in pulls:
        assert pull.result is Outcome.SERVED
        assert blobs_of(pull) == Counter(parts)
    live = as_they_come(recorded)
    assert members(live.pulls) == members(pulls)
