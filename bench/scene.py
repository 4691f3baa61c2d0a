"""What is measured: replicas of the proxy, each before a cloud of its own kind."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.ballast import Ballast
from bench.certificate import make_certificate
from bench.cloud import Cloud, running_cloud
from bench.visit import Wanted
from demo.proxy import Proxy
from serve import free_port

MEBI = 1 << 20
SMALL = Ballast("bench/small", layers=6, layer_bytes=MEBI)
"""Of eight layers, as two are in every image; where blobs are redirected, their size
makes no difference."""
IMAGE = Ballast("bench/image", layers=6, layer_bytes=8 * MEBI)
BLOB = Ballast("bench/blob", layers=1, layer_bytes=64 * MEBI)


@dataclass(frozen=True, slots=True)
class Scene:
    """The replicas, and what can be pulled through them."""

    redirecting: Proxy
    """Passes redirects to a storage on to clients, as before balenaCloud."""
    forgetting: Proxy
    """Does the same, and remembers nothing of what it looked up."""
    streaming: Proxy
    """Has a registry behind it that sends blobs itself."""
    small: Wanted
    """What can be pulled where blobs are redirected."""
    image: Wanted
    """What can be pulled where they are streamed."""
    blob: Wanted
    """The same, with one large layer."""


@contextmanager
def set_scene() -> Iterator[Scene]:
    """Run all of it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = make_certificate(folder)
        redirecting = stack.enter_context(
            running_cloud(files, SMALL, is_redirecting=True)
        )
        streaming = stack.enter_context(
            running_cloud(files, IMAGE, BLOB, is_redirecting=False)
        )
        trust = ("--set", f"ssl_verify_upstream_trusted_ca={files.authority}")
        forget = ("--set", "balena_cache_ttl=0")
        (small,), (image, blob) = redirecting.images, streaming.images
        yield Scene(
            redirecting=stack.enter_context(_proxy(redirecting, *trust)),
            forgetting=stack.enter_context(_proxy(redirecting, *trust, *forget)),
            streaming=stack.enter_context(_proxy(streaming, *trust)),
            small=small,
            image=image,
            blob=blob,
        )


def _proxy(cloud: Cloud, *options: str) -> Proxy:
    """Return a replica that counts and logs as one in production does."""
    environment = {
        "API_URL": cloud.api_url,
        "METRICS_PORT": str(free_port()),
        "LOG_FORMAT": "json",
        "TLS": "authority",
    }
    return Proxy(cloud.registry_url, environment=environment, arguments=options)
