"""The balenaCloud behind the proxy, in a process of its own, and over TLS."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.certificate import Files
from bench.visit import Wanted
from bench.worker import Pipe, working
from localcloud.cloud import LocalCloud, tls_context
from localcloud.image import Description, Image, build_image
from localcloud.registry import Registry
from localcloud.sample import machine_architecture
from localcloud.storage import Storage

MEBI = 1 << 20


@dataclass(frozen=True, slots=True)
class Ballast:
    """How large an image is made."""

    alias: str
    layers: int
    layer_bytes: int


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where it is, and what can be pulled from it."""

    api_url: str
    registry_url: str
    images: tuple[Wanted, ...]


@contextmanager
def running_cloud(
    files: Files, *ballast: Ballast, is_redirecting: bool
) -> Iterator[Cloud]:
    """Run it until the context ends; redirecting, it answers blobs as balenaCloud."""
    with working(_serve, files, ballast, is_redirecting) as pipe:
        cloud = pipe.recv()
        if not isinstance(cloud, Cloud):
            raise TypeError("the cloud does not say where it is")
        yield cloud


def _serve(
    pipe: Pipe,
    files: Files,
    ballast: tuple[Ballast, ...],
    is_redirecting: bool,  # noqa: FBT001 - a process takes its arguments by position
) -> None:
    """Serve until the pipe is closed."""
    tls = tls_context(files.certificate, files.key)
    with LocalCloud(redirect_blobs=is_redirecting, tls=tls) as cloud:
        images = tuple(_add_image(cloud, image) for image in ballast)
        pipe.send(Cloud(cloud.api_url, cloud.registry_url, images))
        pipe.recv()


def _add_image(cloud: LocalCloud, ballast: Ballast) -> Wanted:
    """Put an image of that size in the place of the one that the cloud makes."""
    cloud.add_application(ballast.alias)
    (added,) = cloud.add_release(ballast.alias, "1.0.0", is_target=True).images
    image = build_image(
        Description(
            repository=added.repository,
            application=ballast.alias,
            version="1.0.0",
            service=added.service,
            architectures=(machine_architecture(),),
            ballast_layers=ballast.layers,
            ballast_bytes=ballast.layer_bytes,
        )
    )
    _store(cloud, image)
    cloud.database.set_content_hash(added.location, image.digest)
    blobs = tuple(blob.digest for blob in image.blobs)
    length = sum(len(blob.content) for blob in image.blobs)
    return Wanted(ballast.alias, image.digest, blobs, length)


def _store(cloud: LocalCloud, image: Image) -> None:
    if cloud.registry is None or not isinstance(cloud.registry.application, Registry):
        raise TypeError("the cloud has no registry of its own")
    cloud.registry.application.add(image)
    if cloud.storage is not None and isinstance(cloud.storage.application, Storage):
        for blob in image.blobs:
            cloud.storage.application.add(blob.digest, blob.content)
