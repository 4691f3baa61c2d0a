"""What a soak needs: a balenaCloud, the proxy, and a cable to either of its sides."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from demo.proxy import Proxy
from localcloud.cloud import LocalCloud
from localcloud.image import Description, Image, build_image
from localcloud.registry import Registry
from localcloud.relay import Relay
from localcloud.sample import machine_architecture

TIMEOUT_SECONDS = 3
"""Of registry and API, so that it is often over."""
CACHE_SECONDS = 5
OPTIONS = (
    *("--set", f"balena_api_timeout={TIMEOUT_SECONDS}"),
    *("--set", f"balena_registry_timeout={TIMEOUT_SECONDS}"),
    *("--set", f"balena_cache_ttl={CACHE_SECONDS}"),
)
LARGE = "soak/large"
"""The alias of an image that no buffer on the way holds as a whole."""
LARGE_LAYERS = 2
LARGE_LAYER_BYTES = 12 << 20


@dataclass(frozen=True, slots=True)
class Scene:
    """What requests go through."""

    cloud: LocalCloud
    registry: Relay
    """Between the proxy and the registry."""
    api: Relay
    """Between the proxy and the API."""
    proxy: Proxy
    images: Mapping[str, Image]
    """What is stored, by location."""
    large: str
    """The location of the large image."""

    @property
    def url(self) -> str:
        """The proxy's."""
        return f"http://{self.proxy.host}"

    def mend(self) -> None:
        """Let everything work.

        Raises:
            OSError: a port that was closed is in somebody's use at the moment.

        """
        self.cloud.api.interpose = None
        self.registry.mend()
        self.api.mend()


@contextmanager
def set_scene() -> Iterator[Scene]:
    """Run all of it."""
    with ExitStack() as stack:
        cloud = stack.enter_context(LocalCloud())
        large = _add_large(cloud)
        images = {image.repository: image for image in (*cloud.images, large)}
        registry = stack.enter_context(Relay(_port(cloud.registry_url)))
        api = stack.enter_context(Relay(_port(cloud.api_url)))
        proxy = Proxy(
            f"http://127.0.0.1:{registry.port}",
            environment={"API_URL": f"http://127.0.0.1:{api.port}"},
            arguments=OPTIONS,
        )
        stack.enter_context(proxy)
        yield Scene(cloud, registry, api, proxy, images, large.repository)


def _add_large(cloud: LocalCloud) -> Image:
    """Put an image of many megabytes in the place of the one that the cloud makes."""
    cloud.add_application(LARGE)
    (added,) = cloud.add_release(LARGE, "1.0.0", is_target=True).images
    image = build_image(
        Description(
            repository=added.repository,
            application=LARGE,
            version="1.0.0",
            service=added.service,
            architectures=(machine_architecture(),),
            ballast_layers=LARGE_LAYERS,
            ballast_bytes=LARGE_LAYER_BYTES,
        )
    )
    if cloud.registry is None or not isinstance(cloud.registry.application, Registry):
        raise TypeError("the cloud has no registry of its own")
    cloud.registry.application.add(image)
    cloud.database.set_content_hash(added.location, image.digest)
    return image


def _port(url: str) -> int:
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"{url} names no port")
    return port
