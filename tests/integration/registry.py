"""The real registry: Debian's docker-registry, seeded and with token auth."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt

from localcloud.cloud import LocalCloud
from localcloud.image import Image
from localcloud.publication import push_images
from registry_proxy.port import free_port
from tests.authority import tls_context
from tests.integration.tool import find_tool, listens, running


@dataclass(frozen=True, slots=True)
class Installation:
    """An API and the registry that trusts its tokens."""

    cloud: LocalCloud
    url: str
    """The registry's."""
    storage: Path

    def digest(self, location_hash: str) -> str:
        """Return the digest of the manifest stored at a location."""
        (digest,) = (
            image.digest
            for image in self.cloud.images
            if image.repository == f"v2/{location_hash}"
        )
        return digest


@contextmanager
def installed(
    folder: Path,
    *,
    tls: Path | None = None,
    redirect_to: str | None = None,
    host: str = "localhost",
) -> Iterator[Installation]:
    """Run docker-registry on the images and the tokens of a localcloud.

    With `tls`, a file of certificate and key, both speak TLS. Whatever the name of
    their host, they listen on loopback.
    """
    port = free_port()
    scheme = "https" if tls else "http"
    url = f"{scheme}://{host}:{port}"
    with ExitStack() as stack:
        cloud = stack.enter_context(
            LocalCloud(
                registry_url=url,
                tls=tls_context(tls) if tls else None,
                public_host=None if host == "localhost" else host,
            )
        )
        seed(cloud.images, folder)
        bundle = folder / "token.pem"
        cloud.issuer.certificate_bundle(bundle)
        api_url = cloud.api_url
        config: dict[str, Any] = {
            "auth": {
                "token": {
                    "realm": f"{api_url}/auth/v1/token",
                    "service": cloud.registry_host,
                    "issuer": cloud.issuer.name,
                    "rootcertbundle": str(bundle),
                }
            }
        }
        if redirect_to:
            config["middleware"] = {
                "storage": [{"name": "redirect", "options": {"baseurl": redirect_to}}]
            }
        if tls:
            config["http"] = {"tls": {"certificate": str(tls), "key": str(tls)}}
        stack.enter_context(serving(folder, port, config))
        yield Installation(cloud, url, folder / "storage")


def seed(images: Iterable[Image], folder: Path) -> None:
    """Put images into a storage folder, through the registry itself."""
    port = free_port()
    with serving(folder, port, {}):
        push_images(images, f"http://localhost:{port}")


MANY = "balenablocks/many"
"""An application with more releases than a token has a list of."""
FAR = f"{MANY}:1.6.0"
"""One of them that is in no token, by its tag."""


def add_twins(installation: Installation) -> None:
    """Add two commits that begin alike, which the measured catalog does not have."""
    cloud = installation.cloud
    cloud.add_application("balenablocks/twins")
    for version, commit in (("1.0.0", "abcdef0123"), ("1.1.0", "abcdef0999")):
        cloud.add_release("balenablocks/twins", version, commit=commit.ljust(32, "0"))


def add_many(installation: Installation) -> str:
    """Add that application, and return the digest of the release that is far down."""
    cloud, images = installation.cloud, []
    cloud.add_application(MANY)
    for number in range(30):
        cloud.add_release(MANY, f"1.{number}.0", is_target=number == 29)
        images.append(cloud.images[-1])
    seed(images, installation.storage.parent)
    return images[6].digest


def htpasswd(folder: Path, user: str, password: str) -> dict[str, Any]:
    """Return the configuration of a registry that takes this login itself."""
    path = folder / "htpasswd"
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    path.write_text(f"{user}:{hashed}\n")
    return {"auth": {"htpasswd": {"realm": "registry", "path": str(path)}}}


@contextmanager
def serving(folder: Path, port: int, config: Mapping[str, Any]) -> Iterator[None]:
    """Run docker-registry on a port of loopback, with the storage in the folder."""
    whole: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        **config,
    }
    whole["http"] = {"addr": f"127.0.0.1:{port}", **config.get("http", {})}
    # YAML takes JSON as it is.
    path = folder / f"registry-{port}.yml"
    path.write_text(json.dumps(whole))
    with running(
        [find_tool("docker-registry"), "serve", path],
        lambda: listens(port),
        log=folder / f"registry-{port}.log",
    ):
        yield
