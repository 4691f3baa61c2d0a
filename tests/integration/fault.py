"""The real parts with a cable between each two, and ways to cut it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from demo.proxy import Proxy
from localcloud.relay import Relay
from localcloud.server import Request, Response
from tests.integration.registry import Installation, installed
from tests.integration.session import logged_in
from tests.integration.tool import wait_for_start

ALIAS = "balenablocks/browser-aarch64/2.3.8"
LOCATION = "567e62d1e73529e7a31757ac1f3fb902"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IN_MANIFEST = b'"schemaVersion"'
IN_BLOB = b"application/octet-stream"
"""What stands in an answer shortly before it is to break off."""
PATIENCE_SECONDS = 15
"""What clients wait for a token at most."""
TIMEOUT_SECONDS = 2
"""Of registry and API, so that tests need not wait for the usual ten."""
OPTIONS = (
    *("--set", f"balena_api_timeout={TIMEOUT_SECONDS}"),
    *("--set", f"balena_registry_timeout={TIMEOUT_SECONDS}"),
    *("--set", "balena_cache_ttl=0"),
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pull goes through."""

    installation: Installation
    registry: Relay
    """Between the proxy and the registry."""
    api: Relay
    """Between the proxy and the API."""
    proxy: Proxy

    @property
    def url(self) -> str:
        """The proxy's."""
        return f"http://{self.proxy.host}"

    @property
    def reference(self) -> str:
        """What a client pulls."""
        return f"{self.proxy.host}/{ALIAS}"

    @property
    def digest(self) -> str:
        """What it then has."""
        return self.installation.digest(LOCATION)

    def interpose(self, answer: Callable[[Request], Response | None] | None) -> None:
        """Let the API answer with that, where it is not None."""
        self.installation.cloud.api.interpose = answer

    def mend(self) -> None:
        """Let everything work again."""
        self.registry.mend()
        self.api.mend()
        self.interpose(None)


@contextmanager
def parts(
    folder: Path,
    *,
    options: Sequence[str] = OPTIONS,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Parts]:
    """Run all parts, with cables between them."""
    with ExitStack() as stack:
        installation = stack.enter_context(installed(folder))
        registry = stack.enter_context(Relay(port_of(installation.url)))
        api = stack.enter_context(Relay(port_of(installation.cloud.api_url)))
        proxy = Proxy(
            f"http://localhost:{registry.port}",
            environment={
                "API_URL": f"http://127.0.0.1:{api.port}",
                **(environment or {}),
            },
            arguments=options,
        )
        stack.enter_context(proxy)
        wait_for_start(proxy)
        yield Parts(installation, registry, api, proxy)


@contextmanager
def in_time() -> Iterator[None]:
    """See that what happens inside takes no longer than a client waits."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < PATIENCE_SECONDS


@contextmanager
def with_token(whole: Parts) -> Iterator[requests.Session]:
    """Return a session that may pull, and that asks for manifests as clients do."""
    with logged_in(whole.url, ALIAS) as session:
        session.headers["Accept"] = MANIFEST
        yield session


def port_of(url: str) -> int:
    """Return the port in a URL."""
    port = urlsplit(url).port
    assert port is not None
    return port
