"""The balenaCloud behind the proxy, in a process of its own, and over TLS."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import ballast
from bench.ballast import Ballast
from bench.certificate import Files
from bench.visit import Wanted
from bench.worker import Pipe, working
from localcloud.cloud import LocalCloud, tls_context
from localcloud.image import Image
from localcloud.registry import Registry
from localcloud.storage import Storage


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where it is, and what can be pulled from it."""

    api_url: str
    registry_url: str
    images: tuple[Wanted, ...]


@contextmanager
def running_cloud(
    files: Files, *images: Ballast, is_redirecting: bool
) -> Iterator[Cloud]:
    """Run it until the context ends; redirecting, it answers blobs as balenaCloud."""
    with working(_serve, files, images, is_redirecting) as pipe:
        cloud = pipe.recv()
        if not isinstance(cloud, Cloud):
            raise TypeError("the cloud does not say where it is")
        yield cloud


def _serve(
    pipe: Pipe,
    files: Files,
    wanted: tuple[Ballast, ...],
    is_redirecting: bool,  # noqa: FBT001 - a process takes its arguments by position
) -> None:
    """Serve until the pipe is closed."""
    tls = tls_context(files.certificate, files.key)
    with LocalCloud(redirect_blobs=is_redirecting, tls=tls) as cloud:
        images = tuple(_add_image(cloud, image) for image in wanted)
        pipe.send(Cloud(cloud.api_url, cloud.registry_url, images))
        pipe.recv()


def _add_image(cloud: LocalCloud, wanted: Ballast) -> Wanted:
    """Put an image of that size in the place of the one that the cloud makes."""
    added = ballast.add_release(cloud, wanted)
    image = ballast.build(added, wanted)
    _store(cloud, image)
    cloud.database.set_content_hash(added.location, image.digest)
    return ballast.wanted(wanted, image)


def _store(cloud: LocalCloud, image: Image) -> None:
    if cloud.registry is None or not isinstance(cloud.registry.application, Registry):
        raise TypeError("the cloud has no registry of its own")
    cloud.registry.application.add(image)
    if cloud.storage is not None and isinstance(cloud.storage.application, Storage):
        for blob in image.blobs:
            cloud.storage.application.add(blob.digest, blob.content)
