"""Each client of today pulls the right image, and asks for no more than it needs."""

from demo.proxy import Proxy
from tests.integration.client import Client
from tests.integration.registry import Installation

PUBLIC = "balenablocks/browser-aarch64/2.3.8"
PUBLIC_LOCATION = "567e62d1e73529e7a31757ac1f3fb902"
PRIVATE = "balenablocks/private-block/1.0.0"
PRIVATE_LOCATION = "875ff9869a2373a5d97612c498e0bcf1"


def test_public(installation: Installation, proxy: Proxy, client: Client) -> None:
    """A public release is pulled without logging in."""
    digest = client.pull(f"{proxy.host}/{PUBLIC}")
    assert digest == installation.digest(PUBLIC_LOCATION)


def test_private(installation: Installation, proxy: Proxy, client: Client) -> None:
    """A private one is pulled with an API key."""
    key = installation.cloud.keys["carol"]
    digest = client.pull(f"{proxy.host}/{PRIVATE}", key)
    assert digest == installation.digest(PRIVATE_LOCATION)
