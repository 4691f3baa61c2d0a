"""Tokens whose time is over, or has not come: said, and got over."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Request
from tests.client.client import Client
from tests.integration.scripted import ask
from tests.integration.session import get_token
from tests.integration.tool import ToolError

ALIAS = "balenablocks/browser-aarch64/2.3.8"
LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
HOURS = 3600.0


@dataclass(frozen=True, slots=True)
class Setting:
    """A cloud, its clock, and the proxy in front of it."""

    cloud: LocalCloud
    clock: SimpleNamespace
    """It is `ahead` by so many seconds."""
    proxy: Proxy

    @property
    def digest(self) -> str:
        """What a pull of the alias gets."""
        (digest,) = (i.digest for i in self.cloud.images if i.repository == LOCATION)
        return digest


@pytest.fixture(scope="module")
def started() -> Iterator[Setting]:
    """A cloud with a clock to turn."""
    clock = SimpleNamespace(ahead=0.0)
    with (
        LocalCloud(clock=lambda: time.time() + clock.ahead) as cloud,
        Proxy(cloud.registry_url) as proxy,
    ):
        yield Setting(cloud, clock, proxy)


@pytest.fixture
def setting(started: Setting) -> Iterator[Setting]:
    """That cloud, whose clock is right again after the test."""
    yield started
    started.clock.ahead = 0.0
    assert started.cloud.registry is not None
    started.cloud.registry.interpose = None


@pytest.mark.parametrize("client", ["docker", "ctr", "podman", "skopeo"], indirect=True)
def test_token_that_expires_in_mid_pull(setting: Setting, client: Client) -> None:
    """A client that trusts its own clock says what is wrong; its next pull works."""

    def expire_at_first_blob(request: Request) -> None:
        if "/blobs/" in request.path:
            setting.clock.ahead = 5 * HOURS

    assert setting.cloud.registry is not None
    setting.cloud.registry.interpose = expire_at_first_blob
    reference = f"{setting.proxy.host}/{ALIAS}"
    try:
        said = client.pull(reference)
    except ToolError as error:
        said = str(error)
    understood = f"{setting.digest}|authentication required|invalid_token"
    assert re.search(understood, said)
    assert client.pull(reference) == setting.digest
    assert "refuses the token: " in setting.proxy.log


def test_expired_token_gets_a_challenge(setting: Setting) -> None:
    """It names the proxy and the alias, and the log says once what is wrong."""
    url = f"http://{setting.proxy.host}"
    token = get_token(url, ALIAS)
    setting.clock.ahead = 5 * HOURS
    refused = ask(f"{url}/v2/{ALIAS}/manifests/latest", token)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == (
        f'Bearer realm="{url}/auth/v1/token",service="{setting.cloud.registry_host}",'
        f'scope="repository:{ALIAS}:pull",error="invalid_token"'
    )
    assert "refuses the token: the token is valid from 20" in setting.proxy.log
    assert "refuses a token" not in setting.proxy.log
    assert token.partition("~")[0].rpartition(".")[2] not in setting.proxy.log
