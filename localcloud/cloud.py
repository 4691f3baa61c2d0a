"""The whole cloud: API, registry and storage over one set of data."""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from localcloud.account import KEYS
from localcloud.api import Api
from localcloud.catalog import MEASURED_REGISTRY, load_catalog
from localcloud.database import Database
from localcloud.image import Image, build_image
from localcloud.issuer import Issuer
from localcloud.registry import Registry
from localcloud.release import AddedRelease, add_release
from localcloud.sample import describe_image, sample_images
from localcloud.server import RequestLog, Server
from localcloud.storage import Storage


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; 0 is any free port."""

    api: int = 0
    registry: int = 0
    storage: int = 0


FREE_PORTS = Ports()


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what servers need to speak TLS with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class LocalCloud:
    """A balenaCloud that answers while it is entered as a context.

    ``registry_url`` names another registry to front, which verifies this cloud's
    tokens and is used in place of an own one. ``registry_host`` is what image
    locations begin with, by default the host of the registry. ``public_host`` goes
    into URLs where the listening ``host`` would be no use. With ``publish`` the
    sample images are built and their digests recorded.
    """

    def __init__(
        self,
        *,
        registry_host: str | None = None,
        registry_url: str | None = None,
        serve_registry: bool = True,
        redirect_blobs: bool = False,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        publish: bool = True,
        host: str = "127.0.0.1",
        public_host: str | None = None,
        ports: Ports = FREE_PORTS,
        issuer_name: str = "api.localcloud",
    ) -> None:
        def open_server(port: int) -> Server:
            return Server(host=host, port=port, public_host=public_host, tls=tls)

        has_registry = serve_registry and registry_url is None
        self.keys: Mapping[str, str] = KEYS
        self.api = open_server(ports.api)
        self.registry = open_server(ports.registry) if has_registry else None
        self.storage = (
            open_server(ports.storage) if self.registry and redirect_blobs else None
        )
        self.api_url = self.api.url
        self.registry_url = self.registry.url if self.registry else registry_url or ""
        self.storage_url = self.storage.url if self.storage else ""
        self.registry_host = (
            registry_host or urlsplit(self.registry_url).netloc or MEASURED_REGISTRY
        )
        self.issuer = Issuer(issuer_name, self.registry_host, clock)
        self.database = Database(load_catalog(self.registry_host))
        self._clock = clock
        self._stack = ExitStack()
        self._images: list[Image] = []
        self._publishes = publish
        self._blobs = Storage(self.storage_url, clock)
        self._repositories = Registry(
            self.issuer,
            f"{self.api_url}/auth/v1/token",
            self._blobs.signed_url if self.storage else None,
        )
        self.api.application = Api(self.database, self.issuer)
        if self.registry:
            self.registry.application = self._repositories
        if self.storage:
            self.storage.application = self._blobs
        for image in sample_images() if publish else ():
            self._publish(image)

    def __enter__(self) -> Self:
        """Start the servers."""
        for server in (self.api, self.registry, self.storage):
            if server:
                self._stack.enter_context(server)
        return self

    def __exit__(self, *exception: object) -> None:
        """End the servers."""
        self._stack.close()

    @property
    def requests(self) -> RequestLog:
        """The requests that the API received."""
        return self.api.requests

    @property
    def images(self) -> Sequence[Image]:
        """The published images, to seed another registry with."""
        return tuple(self._images)

    def add_application(self, slug: str) -> int:
        """Add a public application without releases and return its number."""
        row = {
            "slug": slug,
            "is_public": True,
            "should_be_running__release": None,
        }
        return self.database.insert("application", row)

    def add_release(
        self,
        slug: str,
        version: str,
        *,
        services: Sequence[str] = ("main",),
        is_draft: bool = False,
        is_target: bool = False,
        image_status: str = "success",
        **fields: object,
    ) -> AddedRelease:
        """Add a release, and publish its images where this cloud publishes.

        ``fields`` are those of the release, such as ``status`` or
        ``is_invalidated``. The target release is moved by ``is_target`` alone; the
        real API tracks.
        """
        (application,) = self.database.find("application", slug=slug)
        release = add_release(
            self.database,
            self.registry_host,
            self._clock(),
            application,
            version,
            services=services,
            is_draft=is_draft,
            image_status=image_status,
            fields=fields,
        )
        if self._publishes and image_status == "success":
            for image in release.images:
                description = describe_image(
                    image.repository, slug, release.raw_version, image.service
                )
                self._publish(build_image(description))
        if is_target:
            target = {"should_be_running__release": release.id}
            self.database.change("application", application["id"], target)
        return release

    def _publish(self, image: Image) -> None:
        self._images.append(image)
        self._repositories.add(image)
        for blob in image.blobs:
            self._blobs.add(blob.digest, blob.content)
        location = f"{self.registry_host}/{image.repository}"
        self.database.set_content_hash(location, image.digest)
