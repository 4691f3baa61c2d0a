"""A proxy with mitmweb whose registry can be made slow."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from demo.debug import BROWSER, Pull, outcome
from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.relay import Failure, Fault, Relay

SLOW = Fault(Failure.TRICKLE, b"application/octet-stream", 100, piece=40_000)
"""Layers come with less than a megabyte in a second."""


@dataclass(frozen=True, slots=True)
class Site:
    """The proxy, and the cable to its registry."""

    cloud: LocalCloud
    relay: Relay
    proxy: Proxy

    def pull(self, pull: Pull) -> None:
        """Pull, whatever comes of it."""
        outcome(self.proxy.host, pull, self.cloud)

    @contextmanager
    def pulling(self, reference: str) -> Iterator[None]:
        """Pull slowly while the context lasts; then the rest comes at once."""
        puller = threading.Thread(target=self.pull, args=[Pull(reference, "")])
        self.relay.fail(SLOW)
        puller.start()
        try:
            yield
        finally:
            self.relay.mend()
            puller.join()


@contextmanager
def slow_site() -> Iterator[Site]:
    """Run all of it."""
    with (
        LocalCloud() as cloud,
        Relay(urlsplit(cloud.registry_url).port or 0) as relay,
        Proxy(
            f"http://127.0.0.1:{relay.port}",
            environment={"API_URL": cloud.api_url},
            arguments=BROWSER,
            program="mitmweb",
        ) as proxy,
    ):
        yield Site(cloud, relay, proxy)
