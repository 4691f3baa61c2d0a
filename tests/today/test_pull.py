"""Each client of today pulls the right image, in whatever way it reaches the proxy."""

import pytest

from tests.integration.client import Client
from tests.integration.machine import Machine
from tests.today.front import Front

FRONTS = ("plain", "tls", "haproxy tls", "blobs redirected", "blobs followed")
PRIVATE = "balenablocks/private-block/1.0.0"
PRIVATE_LOCATION = "875ff9869a2373a5d97612c498e0bcf1"


@pytest.mark.parametrize("front", FRONTS, indirect=True)
def test_in_each_way(machine: Machine, front: Front, client: Client) -> None:
    """A private one is pulled with an API key, in each way of reaching the proxy."""
    key = front.installation.cloud.keys["carol"]
    digest = machine.call(front.pull, client, PRIVATE, key)
    assert digest == front.installation.digest(PRIVATE_LOCATION)
