"""What the clients pull from: the proxy, in each way of reaching it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.proxy import Proxy
from registry_proxy.port import free_port
from tests.authority import Authority
from tests.client.client import Client
from tests.client.machine import ADDRESS, NAME
from tests.integration.balancer import Replica, balancing
from tests.integration.registry import Installation, htpasswd, installed, serving
from tests.integration.storage import SCRIPT, Nginx, known_to_the_proxy, storing
from tests.integration.tool import wait_for_start, wait_until
from tests.integration.way import nginx

SELECT = {"TAGS": "select"}
OWN_NAMES = {"NAMES": "registry"}


@dataclass(frozen=True, slots=True)
class Front:
    """A proxy, and what is behind it."""

    host: str
    installation: Installation
    is_encrypted: bool = False
    storage: Nginx | None = None
    """Where the registry redirects to, if it does."""

    def pull(self, client: Client, name: str, key: str | None = None) -> str:
        """Let the client pull the image with this name from here, by its rules."""
        if self.is_encrypted:
            client.transport = ()
        return client.pull(f"{self.host}/{name}", key)


@dataclass(frozen=True, slots=True)
class Ground:
    """What fronts are made of."""

    folder: Path
    authority: Authority
    installation: Installation


@contextmanager
def plain(ground: Ground, **variables: str) -> Iterator[Front]:
    """Speak plain HTTP on loopback."""
    with Proxy(ground.installation.url, environment=SELECT | variables) as proxy:
        wait_for_start(proxy)  # Or its own requests would be counted as a client's.
        yield Front(proxy.host, ground.installation)


@contextmanager
def encrypted(ground: Ground) -> Iterator[Front]:
    """Speak TLS, under a name that is not loopback's."""
    own = str(ground.authority.server_file(ground.folder, NAME, ADDRESS))
    tls = {"LISTEN_HOST": "0.0.0.0", "TLS_CERT": own, "TLS_KEY": own}
    with Proxy(ground.installation.url, environment=SELECT | tls) as proxy:
        yield Front(f"{NAME}:{proxy.port}", ground.installation, is_encrypted=True)


@contextmanager
def balanced(ground: Ground, *, is_encrypted: bool = False) -> Iterator[Front]:
    """Have HAProxy give the requests of a client to two replicas in turn."""
    own = str(ground.authority.server_file(ground.folder, NAME, ADDRESS))
    port = free_port()
    tls = {"TLS_CERT": own, "TLS_ADDRESS": f"{ADDRESS}:{port}"}
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(Replica(name, ground.installation, **SELECT))
            for name in ("replica1", "replica2")
        ]
        variables = tls if is_encrypted else {}
        balancer = stack.enter_context(balancing(ground.folder, replicas, **variables))
        wait_until(lambda: balancer.is_up(*replicas), "both replicas are up")
        host = f"{NAME}:{port}" if is_encrypted else balancer.host
        yield Front(host, ground.installation, is_encrypted=is_encrypted)


@contextmanager
def behind_nginx(ground: Ground) -> Iterator[Front]:
    """Have nginx end TLS."""
    port = free_port()
    variables = SELECT | {"TRUST_PROXY": "true"}
    with (
        Proxy(ground.installation.url, environment=variables) as proxy,
        nginx(ground.authority, ground.folder, port, [proxy.port]),
    ):
        yield Front(f"{NAME}:{port}", ground.installation, is_encrypted=True)


@contextmanager
def redirected(ground: Ground) -> Iterator[Front]:
    """Have clients get blobs from where the registry redirects."""
    with (
        _storing(ground.folder, "127.0.0.1") as (installation, storage),
        Proxy(installation.url, environment=SELECT) as proxy,
    ):
        yield Front(proxy.host, installation, storage=storage)


@contextmanager
def followed(ground: Ground, **kept: str) -> Iterator[Front]:
    """Have the proxy get blobs from a storage that no client can reach."""
    follow = {"BLOBS": "follow", "BLOBS_ALLOW": "127.0.0.1/32", **kept}
    with (
        _storing(ground.folder) as (installation, storage),
        pytest.MonkeyPatch.context() as patch,
    ):
        known_to_the_proxy(patch)
        variables = SELECT | follow
        with Proxy(installation.url, environment=variables, arguments=SCRIPT) as proxy:
            yield Front(proxy.host, installation, storage=storage)


@contextmanager
def with_own_names(ground: Ground) -> Iterator[Front]:
    """Serve the registry under its own names; its API is one of many realms."""
    with Proxy(ground.installation.url, environment=OWN_NAMES) as proxy:
        yield Front(proxy.host, ground.installation)


@contextmanager
def without_tokens(ground: Ground, *, has_login: bool) -> Iterator[Front]:
    """Serve the same images from a registry that takes logins itself, or none."""
    port, installation = free_port(), ground.installation
    key = installation.cloud.keys["carol"]
    config = htpasswd(ground.folder, "u", key) if has_login else {}
    with (
        serving(installation.storage.parent, port, config),
        Proxy(f"http://localhost:{port}", environment=OWN_NAMES) as proxy,
    ):
        yield Front(proxy.host, installation)


@contextmanager
def _storing(
    folder: Path, host: str | None = None
) -> Iterator[tuple[Installation, Nginx]]:
    with storing(folder) as storage:
        url = storage.url if host is None else f"http://{host}:{storage.port}"
        with installed(folder, redirect_to=url) as installation:
            yield installation, storage


FRONTS: Mapping[str, Callable[[Ground], AbstractContextManager[Front]]] = {
    "plain": plain,
    "tags ignored": lambda ground: plain(ground, TAGS="ignore"),
    "tls": encrypted,
    "haproxy": balanced,
    "haproxy tls": lambda ground: balanced(ground, is_encrypted=True),
    "nginx": behind_nginx,
    "blobs redirected": redirected,
    "blobs followed": followed,
    "own names": with_own_names,
    "own names, Basic": lambda ground: without_tokens(ground, has_login=True),
    "own names, open": lambda ground: without_tokens(ground, has_login=False),
    "blobs kept": lambda ground: followed(ground, CACHE=str(ground.folder / "cache")),
}
