"""Pushing images into a real registry over HTTP, as a builder does it."""

from collections.abc import Iterable
from urllib.parse import urljoin

import requests

from localcloud.image import Image


def push_images(images: Iterable[Image], registry_url: str) -> None:
    """Push blobs and manifests into a registry that asks for no token."""
    with requests.Session() as session:
        # A proxy of the environment has no business between two local servers.
        session.trust_env = False
        for image in images:
            _push(session, image, registry_url)


def _push(session: requests.Session, image: Image, registry_url: str) -> None:
    base = f"{registry_url}/v2/{image.repository}"
    for blob in image.blobs:
        upload = session.post(f"{base}/blobs/uploads/", timeout=30)
        upload.raise_for_status()
        session.put(
            urljoin(upload.url, upload.headers["Location"]),
            params={"digest": blob.digest},
            data=blob.content,
            headers={"Content-Type": "application/octet-stream"},
            timeout=30,
        ).raise_for_status()
    for manifest in image.manifests:
        session.put(
            f"{base}/manifests/{manifest.tag or manifest.digest}",
            data=manifest.content,
            headers={"Content-Type": manifest.media_type},
            timeout=30,
        ).raise_for_status()
