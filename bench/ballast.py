"""Makes an image as large as it is wanted, in the place of one that a cloud makes."""

from dataclasses import dataclass

from bench.visit import Wanted
from localcloud.cloud import LocalCloud
from localcloud.image import Description, Image, build_image
from localcloud.release import AddedImage
from localcloud.sample import machine_architecture

VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class Ballast:
    """How large an image is made; beside its layers it has two small ones."""

    alias: str
    layers: int
    layer_bytes: int


def add_release(cloud: LocalCloud, ballast: Ballast) -> AddedImage:
    """Let the API know of the image, and return where it has to be stored."""
    cloud.add_application(ballast.alias)
    (added,) = cloud.add_release(ballast.alias, VERSION, is_target=True).images
    return added


def build(added: AddedImage, ballast: Ballast) -> Image:
    """Return what has to be stored there."""
    return build_image(
        Description(
            repository=added.repository,
            application=ballast.alias,
            version=VERSION,
            service=added.service,
            architectures=(machine_architecture(),),
            ballast_layers=ballast.layers,
            ballast_bytes=ballast.layer_bytes,
        )
    )


def wanted(ballast: Ballast, image: Image) -> Wanted:
    """Return what a client has to know of it."""
    blobs = tuple(blob.digest for blob in image.blobs)
    length = sum(len(blob.content) for blob in image.blobs)
    return Wanted(ballast.alias, VERSION, image.digest, blobs, length, image.repository)
