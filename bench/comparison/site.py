"""What everybody pulls from: one storage, and three registries in front of it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from bench.certificate import Files, make_certificate
from bench.comparison import registry
from bench.comparison.api import Apis, Front, Goods, Installation, Order, running_apis
from bench.comparison.size import Sizes
from serve import free_port


@dataclass(frozen=True, slots=True)
class Site:
    """Where they are."""

    folder: Path
    files: Files
    """What all servers speak TLS with that do."""
    apis: Apis
    streaming: Installation
    """Its registry sends blobs itself, over plain HTTP."""
    redirecting: Installation
    """Its registry redirects them to nginx, as balenaCloud's to its storage."""
    encrypted: Installation
    """As the first one, but over TLS."""

    @property
    def goods(self) -> Goods:
        """What can be pulled."""
        return self.apis.goods


@contextmanager
def open_site(
    folder: Path, sizes: Sizes, *, has_blob: bool, first_port: int | None = None
) -> Iterator[Site]:
    """Run all of it until the context ends.

    Args:
        folder: where everything is kept.
        sizes: how large what is stored is.
        has_blob: whether the large blob is needed.
        first_port: where the streaming registry listens; behind it the redirecting
            one, and the API of each. Otherwise ports are free ones.

    """
    with ExitStack() as stack:
        files = make_certificate(folder)
        given = count(first_port) if first_port else None
        ports = [next(given) if given else free_port() for _ in range(4)]
        streaming = Front(_url(ports[0]), ports[2], folder / "streaming.pem")
        redirecting = Front(_url(ports[1]), ports[3], folder / "redirecting.pem")
        encrypted = Front(
            f"https://localhost:{free_port()}", 0, folder / "encrypted.pem"
        )
        fronts = [streaming, redirecting, encrypted]
        seed_port = free_port()
        order = Order(sizes.image, sizes.blob_bytes * has_blob, _url(seed_port))
        with registry.serving(folder, seed_port):
            apis = stack.enter_context(running_apis(order, fronts))
        # What is still to be written would be written while something is measured.
        os.sync()
        storage_port = free_port()
        stack.enter_context(registry.storing(folder, storage_port))
        site = Site(folder, files, apis, *apis.installations)
        parts: Sequence[dict[str, Any]] = (
            {},
            registry.redirecting(_url(storage_port)),
            registry.encrypting(files),
        )
        for front, installation, part in zip(
            fronts, apis.installations, parts, strict=True
        ):
            trust = registry.trusting(
                installation.realm,
                installation.service,
                installation.issuer,
                front.bundle,
            )
            stack.enter_context(
                registry.serving(folder, installation.port, trust | part)
            )
        yield site


def _url(port: int) -> str:
    return f"http://localhost:{port}"
