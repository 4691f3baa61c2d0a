"""The sample images: one for each location of the catalog."""

import platform
from functools import cache

from localcloud.catalog import load_catalog
from localcloud.database import Database
from localcloud.image import Description, Image, build_image

# The image of the target release of balenablocks/browser-aarch64: big enough for
# a pull to show progress.
_BIG = "v2/567e62d1e73529e7a31757ac1f3fb902"
_BIG_LAYERS = 3
_BIG_LAYER_BYTES = 2 << 20
# Applications whose images are made for two platforms; of the first one also
# those of applications in OCI format.
_TWO_PLATFORMS = ("amd64", "arm64")
_MULTI_PLATFORM = {"otherorg/tracker"}
_OCI_REPOSITORIES = {
    "v2/c4b25908ae5a982e8faa2da9faf59b64",  # otherorg/tracker 4.9.9
    "v2/c94c117e5e15b559a011f53a01bf3a14",  # balenablocks/pinned-app 1.1.0
    _BIG,
}


def machine_architecture() -> str:
    """Return this machine's architecture, so that its engine runs the images."""
    return "arm64" if platform.machine().lower() in {"aarch64", "arm64"} else "amd64"


@cache
def sample_images() -> tuple[Image, ...]:
    """Build the image of every location in the catalog with status success.

    An image of several releases names the oldest of them.
    """
    database = Database(load_catalog())
    images: dict[str, Image] = {}
    for link in database.rows("release_image"):
        (image,) = database.linked("image", link["image"])
        repository = image["is_stored_at__image_location"].partition("/")[2]
        if image["status"] != "success" or repository in images:
            continue
        (release,) = database.linked("release", link["is_part_of__release"])
        (application,) = database.linked(
            "application", release["belongs_to__application"]
        )
        (service,) = database.linked("service", image["is_a_build_of__service"])
        images[repository] = build_image(
            describe_image(
                repository,
                application["slug"],
                release["raw_version"],
                service["service_name"],
            )
        )
    return tuple(images.values())


def describe_image(
    repository: str, application: str, version: str, service: str
) -> Description:
    """Return what one image is to contain."""
    is_big = repository == _BIG
    return Description(
        repository=repository,
        application=application,
        version=version,
        service=service,
        architectures=(
            _TWO_PLATFORMS
            if application in _MULTI_PLATFORM
            else (machine_architecture(),)
        ),
        is_oci=repository in _OCI_REPOSITORIES,
        ballast_layers=_BIG_LAYERS if is_big else 0,
        ballast_bytes=_BIG_LAYER_BYTES,
        note=f"Built by localcloud as {version}." if is_big else "",
    )
