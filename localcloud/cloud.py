"""What belongs together: API, registry and storage over one set of data."""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
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
    """A balenaCloud that listens while it is entered as a context.

    ``registry_url`` names another registry to front, which verifies this cloud's
    tokens, and keeps the own one from being served. ``registry_host`` is what image
    locations begin with, by default the host of the registry. ``service`` is the
    audience of tokens, by default that host too. ``public_host`` goes into URLs
    where the listening ``host`` would be no use. With ``publish`` the sample images
    are built and their digests recorded.
    """

    database: Database
    issuer: Issuer
    api: Server
    registry: Server | None
    storage: Server | None
    api_url: str
    registry_url: str
    storage_url: str
    registry_host: str

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
        service: str | None = None,
        issuer_name: str = "api.localcloud",
    ) -> None:
        self.keys: Mapping[str, str] = KEYS
        self._clock = clock
        self._publishes = publish
        self._serves_registry = serve_registry and registry_url is None
        self._redirects = redirect_blobs
        self._tls = tls
        self._host = host
        self._public_host = public_host
        self._ports = ports
        self._service = service
        self._issuer_name = issuer_name
        self._given_host = registry_host
        self._given_url = registry_url
        self._images: list[Image] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the servers."""
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the servers and forget the data."""
        # The servers first: until they have ended they may read the database.
        self._stack.close()
        self.database.close()

    @property
    def requests(self) -> RequestLog:
        """What the API received."""
        return self.api.requests

    @property
    def images(self) -> Sequence[Image]:
        """The published images, to seed another registry with."""
        return tuple(self._images)

    def add_application(
        self, slug: str, *, is_public: bool = True, kind: str = "fleet"
    ) -> int:
        """Add an application without releases and return its number."""
        return self.database.insert(
            "application",
            {
                "should_be_running__release": None,
                "slug": slug,
                "app_name": slug.partition("/")[2],
                "is_public": is_public,
                "is_of__class": kind,
                "should_track_latest_release": True,
                "is_archived": False,
            },
        )

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
        added = add_release(
            self.database,
            self.registry_host,
            self._clock(),
            slug,
            version,
            services=services,
            is_draft=is_draft,
            image_status=image_status,
            fields=fields,
        )
        if self._publishes and image_status == "success":
            for image in added.images:
                description = describe_image(
                    image.repository, slug, added.raw_version, image.service
                )
                self._publish(build_image(description))
        if is_target:
            self.set_application(slug, should_be_running__release=added.id)
        return added

    def set_application(self, slug: str, **fields: object) -> None:
        """Change fields of an application, such as ``is_public``."""
        for row in self.database.rows("application"):
            if row["slug"] == slug:
                self.database.change("application", int(str(row["id"])), fields)

    def _start(self, stack: ExitStack) -> None:
        self.api = self._open(stack, self._ports.api)
        self.api_url = self.api.url
        self.registry = self.storage = None
        self.registry_url = self._given_url or ""
        self.storage_url = ""
        if self._serves_registry:
            self.registry = self._open(stack, self._ports.registry)
            self.registry_url = self.registry.url
            if self._redirects:
                self.storage = self._open(stack, self._ports.storage)
                self.storage_url = self.storage.url
        self.registry_host = (
            self._given_host or urlsplit(self.registry_url).netloc or MEASURED_REGISTRY
        )
        self.issuer = Issuer(
            self._issuer_name, self._service or self.registry_host, self._clock
        )
        self.database = Database(load_catalog(self.registry_host))
        self._fill()
        self.api.application = Api(self.database, self.issuer)

    def _open(self, stack: ExitStack, port: int) -> Server:
        return stack.enter_context(
            Server(
                host=self._host,
                port=port,
                public_host=self._public_host,
                tls=self._tls,
            )
        )

    def _fill(self) -> None:
        """Put the registry together and the images into it."""
        self._blobs = Storage(self._clock) if self.storage else None
        self._repositories = Registry(
            self.issuer, f"{self.api_url}/auth/v1/token", self._redirect()
        )
        if self.storage is not None and self._blobs is not None:
            self.storage.application = self._blobs
        if self.registry is not None:
            self.registry.application = self._repositories
        self._images.clear()
        for image in sample_images() if self._publishes else ():
            self._publish(image)

    def _redirect(self) -> Callable[[str], str] | None:
        storage, url = self._blobs, self.storage_url
        if storage is None:
            return None
        return lambda digest: url + storage.signed_path(digest)

    def _publish(self, image: Image) -> None:
        self._images.append(image)
        self._repositories.add(image)
        if self._blobs is not None:
            for blob in image.blobs:
                self._blobs.add(blob.digest, blob.content)
        location = f"{self.registry_host}/{image.repository}"
        self.database.set_content_hash(location, image.digest)
