"""What is pulled: docker-registry, nginx as its storage, and the API of localcloud."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.link import Link, open_link
from bench.program import find, run, serving
from localcloud.cloud import LocalCloud, Ports, tls_context
from localcloud.image import Description, Image, build_image
from localcloud.publication import push_images
from localcloud.sample import machine_architecture
from registry_proxy.port import free_port

TOKEN_PATH = "/auth/v1/token"  # noqa: S105 - a path
PULLED = "bench/pulled/1.0.0"
BLOB = "bench/blob/1.0.0"
CROWDED = "bench/crowded/1.0.0"
SMALL = "bench/small/1.0.0"
SIZES = {
    PULLED: (10, 20_000_000),
    BLOB: (1, 100_000_000),
    CROWDED: (3, 1_000_000),
    SMALL: (3, 2_000_000),
}
"""The layers of each image, and the bytes of one."""
NGINX = Path(__file__).with_name("nginx.conf")


@dataclass(frozen=True, slots=True)
class Site:
    """Where it all is."""

    folder: Path
    """For what else is written."""
    cloud: LocalCloud
    streaming: str
    """The URL of the registry that sends blobs itself."""
    redirecting: str
    """And of the one that redirects to a storage, as balenaCloud does."""
    images: dict[str, Image]
    """What can be pulled, by alias."""
    certificate: Path | None
    """Where registry and API speak TLS: what to trust. Its key is in it, too."""
    api: str
    """The URL of the API."""
    link: Link | None = None
    """What they are all behind, where they are far away."""


@contextmanager
def open_site(
    folder: Path,
    *,
    is_tls: bool,
    first_port: int = 0,
    aliases: Sequence[str] = tuple(SIZES),
    is_far: bool = False,
) -> Iterator[Site]:
    """Run it until the context ends; both registries share what is stored.

    Where it is far, both, the storage and the API are reached through a link.
    """
    ports = [first_port + number if first_port else free_port() for number in range(3)]
    certificate = _make_certificate(folder) if is_tls else None
    tls = tls_context(certificate, certificate) if certificate else None
    scheme = "https" if is_tls else "http"
    storage = free_port()
    with ExitStack() as stack:
        link = stack.enter_context(open_link([*ports, storage])) if is_far else None
        *seen, store = (link.ports[p] if link else p for p in (*ports, storage))
        streaming, redirecting, api = (f"{scheme}://localhost:{p}" for p in seen)
        made = LocalCloud(
            registry_url=streaming,
            publish=False,
            public_host="localhost",
            tls=tls,
            ports=Ports(api=ports[2]),
        )
        cloud = stack.enter_context(made)
        images = {alias: _add(cloud, alias) for alias in aliases}
        seed = free_port()
        with _registry(folder, seed, {}, None):
            push_images(images.values(), f"http://127.0.0.1:{seed}")
        config = folder / "nginx.conf"
        text = NGINX.read_text().replace("FOLDER", str(folder))
        config.write_text(text.replace("PORT", str(storage)))
        command = (find("nginx"), "-c", config)
        stack.enter_context(serving(command, storage, folder / "nginx.log"))
        options = {"baseurl": f"http://127.0.0.1:{store}"}
        token = {
            "realm": f"{api}{TOKEN_PATH}",
            "service": cloud.issuer.audience,
            "issuer": cloud.issuer.name,
            "rootcertbundle": str(cloud.issuer.certificate_bundle(folder / "bundle")),
        }
        trust: dict[str, Any] = {"auth": {"token": token}}
        redirect = {"storage": [{"name": "redirect", "options": options}]}
        for port, more in zip(ports, (trust, trust | {"middleware": redirect})):  # noqa: B905 - the third one is the API's
            stack.enter_context(_registry(folder, port, more, certificate))
        yield Site(
            folder, cloud, streaming, redirecting, images, certificate, api, link
        )


def _add(cloud: LocalCloud, alias: str) -> Image:
    """Build an image, and let the API know of it."""
    application, _, version = alias.rpartition("/")
    cloud.add_application(application)
    (added,) = cloud.add_release(application, version, is_target=True).images
    layers, length = SIZES[alias]
    image = build_image(
        Description(
            repository=added.repository,
            application=application,
            version=version,
            service=added.service,
            architectures=(machine_architecture(),),
            ballast_layers=layers,
            ballast_bytes=length,
        )
    )
    cloud.database.set_content_hash(added.location, image.digest)
    return image


@contextmanager
def _registry(
    folder: Path, port: int, more: dict[str, Any], certificate: Path | None
) -> Iterator[None]:
    """Run docker-registry."""
    http: dict[str, Any] = {"addr": f"127.0.0.1:{port}"}
    if certificate:
        http["tls"] = {"certificate": str(certificate), "key": str(certificate)}
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": http,
        **more,
    }
    path = folder / f"registry-{port}.yml"
    path.write_text(json.dumps(config))  # YAML takes JSON as it is.
    command = (find("docker-registry"), "serve", path)
    with serving(command, port, path.with_suffix(".log")):
        yield


def _make_certificate(folder: Path) -> Path:
    """Write a certificate for this machine that is its own authority, with its key."""
    path = folder / "site.pem"
    request = (
        f"{find('openssl')} req -x509 -newkey rsa:2048 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        " -addext keyUsage=critical,digitalSignature,keyCertSign"
    )
    run([*request.split(), "-keyout", path, "-out", path])
    return path
