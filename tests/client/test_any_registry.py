"""Each client pulls by the registry's own names, whoever issues its tokens."""

import pytest

from tests.client.client import Client, Docker, Skopeo
from tests.client.front import Front
from tests.client.machine import Machine
from tests.client.site import SUITES, with_each_client
from tests.client.test_pull import PRIVATE_LOCATION
from tests.integration.tool import ToolError

FRONTS = ("own names", "own names, Basic", "own names, open")
REFERENCE = f"v2/{PRIVATE_LOCATION}:latest"
CLIENTS = (
    *("docker", "docker c8d", "build", "build c8d", "ctr"),
    *("podman", "buildah", "skopeo", "crane", "oras"),
)


@with_each_client("front", FRONTS, CLIENTS)
def test_own_names(machine: Machine, front: Front, client: Client) -> None:
    """What comes is the image, by token, by Basic login, or by none."""
    key = front.installation.cloud.keys["carol"]
    digest = machine.call(front.pull, client, REFERENCE, key)
    assert digest == front.installation.digest(PRIVATE_LOCATION)


@pytest.mark.parametrize(
    ("front", "client"), [("own names, open", (SUITES[1], "docker"))], indirect=True
)
def test_docker_push_is_told_where(
    machine: Machine, front: Front, client: Docker
) -> None:
    """The user of docker sees where to push."""
    target = f"{front.host}/made/up:1.0"
    machine.call(front.pull, client, REFERENCE)
    machine.call(client.docker, "tag", f"{front.host}/{REFERENCE}", target)
    with pytest.raises(ToolError, match="this proxy serves pulls only; push to the"):
        machine.call(client.docker, "push", target)


@pytest.mark.parametrize(
    ("front", "client"), [("own names, open", (SUITES[0], "skopeo"))], indirect=True
)
def test_skopeo_copy_is_told_where(
    machine: Machine, front: Front, client: Skopeo
) -> None:
    """The user of skopeo sees where to push."""
    machine.call(front.pull, client, REFERENCE)
    with pytest.raises(ToolError, match="this proxy serves pulls only; push to the"):
        machine.call(client.push, f"{front.host}/made/up:1.0")
