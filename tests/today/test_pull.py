"""Each client of today pulls the right image, in whatever way it reaches the proxy."""

from tests.integration.client import Client
from tests.integration.machine import Machine
from tests.today.front import Front

PUBLIC = "balenablocks/browser-aarch64/2.3.8"
PUBLIC_LOCATION = "567e62d1e73529e7a31757ac1f3fb902"
PRIVATE = "balenablocks/private-block/1.0.0"
PRIVATE_LOCATION = "875ff9869a2373a5d97612c498e0bcf1"


def test_public(machine: Machine, plain: Front, client: Client) -> None:
    """A public release is pulled without logging in."""
    digest = machine.call(client.pull, f"{plain.host}/{PUBLIC}")
    assert digest == plain.installation.digest(PUBLIC_LOCATION)


def test_in_each_way(machine: Machine, front: Front, client: Client) -> None:
    """A private one is pulled with an API key, in each way of reaching the proxy."""
    if front.is_encrypted:
        client.transport = ()
    key = front.installation.cloud.keys["carol"]
    digest = machine.call(client.pull, f"{front.host}/{PRIVATE}", key)
    assert digest == front.installation.digest(PRIVATE_LOCATION)
