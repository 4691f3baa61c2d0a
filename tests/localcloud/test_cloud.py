"""A cloud can be changed while it runs, watched, and started from the shell."""

import datetime as dt
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from localcloud import LocalCloud
from localcloud.cloud import tls_context
from localcloud.issuer import Access
from localcloud.publication import push_images
from localcloud.server import Response
from tests.localcloud.client import ask

# Docker and OCI format, one platform and several, with an artifact, private.
PUSHED = {
    "v2/567e62d1e73529e7a31757ac1f3fb902",
    "v2/875ff9869a2373a5d97612c498e0bcf1",
    "v2/dc8f1bfe00175d72b481a1a5badc85bb",
    "v2/c4b25908ae5a982e8faa2da9faf59b64",
}
SLUG = "balenablocks/empty-app"
needs_registry = pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="docker-registry is not installed"
)


def versions(cloud: LocalCloud) -> list[str]:
    """Return the releases of the application that had none, oldest first."""
    condition = f"belongs_to__application/slug%20eq%20'{SLUG}'"
    query = f"$select=raw_version&$filter={condition}&$orderby=id%20asc"
    answer = ask(cloud.api_url, f"/v7/release?{query}")
    return [row["raw_version"] for row in answer.json["d"]]


def test_added_releases_follow_the_api() -> None:
    """Revisions count up, drafts carry their time, and images can be pulled."""
    with LocalCloud(clock=lambda: 1_700_000_000.5) as cloud:
        first = cloud.add_release(SLUG, "1.0.0", is_target=True)
        cloud.add_release(SLUG, "1.0.0", status="failed")
        cloud.add_release(SLUG, "1.0.0", variant="prod")
        cloud.add_release(SLUG, "1.0.0+b.1", services=("web", "db"))
        cloud.add_release(SLUG, "1.1.0", is_draft=True)
        cloud.add_release(SLUG, "1.1.0-rc.1", is_draft=True)
        assert versions(cloud) == [
            "1.0.0",
            "1.0.0+rev1",
            "1.0.0+prod",
            "1.0.0+b.1.rev2",
            "1.1.0-1700000000500",
            "1.1.0-rc.1.1700000000500",
        ]
        target = ask(cloud.api_url, f"/auth/v1/token?scope=repository:{SLUG}:pull")
        (access,) = cloud.issuer.verify(target.json["token"])
        repository = first.images[0].repository
        assert access == Access(repository, ("pull",))
        manifest = ask(
            cloud.registry_url,
            f"/v2/{repository}/manifests/latest",
            {"Authorization": f"Bearer {target.json['token']}"},
        )
        assert manifest.status == 200


def test_application_can_be_added_and_made_private() -> None:
    """A change shows at once."""
    with LocalCloud(publish=False) as cloud:
        cloud.add_application("neworg/new")
        cloud.add_release("neworg/new", "0.1.0")
        query = "/v7/application?$select=id&$filter=slug%20eq%20'neworg/new'"
        assert len(ask(cloud.api_url, query).json["d"]) == 1
        cloud.set_application("neworg/new", is_public=False)
        assert ask(cloud.api_url, query).json["d"] == []
        with pytest.raises(ValueError, match="no such_field"):
            cloud.set_application("neworg/new", such_field=1)
        with pytest.raises(ValueError, match="not a semver"):
            cloud.add_release("neworg/new", "1")
        with pytest.raises(ValueError, match="no application"):
            cloud.add_release("neworg/newer", "1.0.0")


def test_requests_are_kept_and_can_be_forgotten() -> None:
    """A test can count and inspect what the API received."""
    with LocalCloud(publish=False) as cloud:
        ask(cloud.api_url, "/v7/release?$top=%30", {"X-Some": "Thing"})
        (request,) = cloud.requests
        assert (request.method, request.target) == ("GET", "/v7/release?$top=%30")
        assert request.header("x-some") == "Thing"
        cloud.requests.clear()
        assert len(cloud.requests) == 0


def test_failures_can_be_interposed() -> None:
    """A test makes the API fail, and well again."""
    with LocalCloud(publish=False) as cloud:
        cloud.api.interpose = lambda _: Response(429, (("Retry-After", "7"),))
        answer = ask(cloud.api_url, "/v7/release")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        cloud.api.interpose = None
        assert ask(cloud.api_url, "/v7/release").status == 200


def test_connection_is_kept(cloud: LocalCloud) -> None:
    """Several requests go over one connection, also after an unread body."""
    connection = http.client.HTTPConnection(urlsplit(cloud.api_url).netloc, timeout=10)
    with closing(connection):
        connection.connect()
        kept = connection.sock
        for method in ("POST", "GET", "HEAD", "GET"):
            connection.request(method, "/auth/v1/token", body=b"GET /v7/x HTTP/1.1\r\n")
            with connection.getresponse() as response:
                response.read()
            assert response.status == (404 if method == "POST" else 200)
            assert connection.sock is kept


def test_open_connection_does_not_hold_up_the_end() -> None:
    """A cloud ends although a client keeps its connection."""
    with ExitStack() as stack:
        cloud = stack.enter_context(LocalCloud(publish=False))
        host, _, port = urlsplit(cloud.api_url).netloc.partition(":")
        with closing(socket.create_connection((host, int(port)), timeout=10)) as idle:
            idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 404"
            ending = threading.Thread(target=stack.pop_all().close, daemon=True)
            ending.start()
            ending.join(timeout=10)
            assert not ending.is_alive()


def test_catalog_is_as_measured_without_publishing(measured: LocalCloud) -> None:
    """Only publishing replaces the digests of the measured images."""
    (image,) = [row for row in measured.database.rows("image") if row["id"] == 30]
    assert str(image["content_hash"]).startswith("sha256:8588b75b")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def test_tls(tmp_path: Path) -> None:
    """With a certificate the servers speak TLS, and shrug at plain HTTP."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    with LocalCloud(
        tls=tls_context(certificate, key), public_host="localhost", publish=False
    ) as cloud:
        assert cloud.registry_url.startswith("https://localhost:")
        host = urlsplit(cloud.api_url).netloc
        with closing(socket.create_connection(("127.0.0.1", host_port(host)))) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection = http.client.HTTPSConnection(host, context=context, timeout=10)
        with closing(connection):
            connection.request("GET", "/v7/release?$top=0")
            with connection.getresponse() as response:
                assert response.read() == b'{"d":[]}'


def host_port(host: str) -> int:
    """Return the port of a host with one."""
    return int(host.rpartition(":")[2])


def free_port() -> int:
    """Return a port that nobody listens on."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def docker_registry(folder: Path, port: int, auth: str) -> Iterator[str]:
    """Run the real registry until the context is left."""
    folder.mkdir(exist_ok=True)
    config = folder / f"{port}.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
                    break
            except ConnectionRefusedError:
                continue
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


@needs_registry
def test_docker_registry_accepts_tokens_and_images(tmp_path: Path) -> None:
    """The real registry takes the images, and the issuer's tokens to read them."""
    port = free_port()
    with LocalCloud(registry_url=f"http://127.0.0.1:{port}") as cloud:
        images = [i for i in cloud.images if i.repository in PUSHED]
        assert len(images) == len(PUSHED)
        with docker_registry(tmp_path / "data", free_port(), "") as open_url:
            push_images(images, open_url)
        bundle = cloud.issuer.certificate_bundle(tmp_path / "bundle.pem")
        auth = (
            f"auth: {{token: {{realm: '{cloud.api_url}/auth/v1/token',"
            f" service: '{cloud.registry_host}', issuer: {cloud.issuer.name},"
            f" rootcertbundle: {bundle}}}}}\n"
        )
        with docker_registry(tmp_path / "data", port, auth) as url:
            assert ask(url, "/v2/").status == 401
            for image in images:
                scope = f"repository:{image.repository}:pull"
                headers = {"Authorization": f"Bearer {cloud.keys['carol']}"}
                answer = ask(cloud.api_url, f"/auth/v1/token?scope={scope}", headers)
                bearer = {"Authorization": f"Bearer {answer.json['token']}"}
                assert ask(url, "/v2/", bearer).status == 200
                path = f"/v2/{image.repository}/manifests/{image.digest}"
                types = ", ".join({m.media_type for m in image.manifests})
                accept = {"Accept": types}
                assert ask(url, path, {**bearer, **accept}).status == 200
            other = {"Authorization": f"Bearer {cloud.issuer.issue('', [])}"}
            assert ask(url, path, other).status == 401


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_and_ends(end: signal.Signals) -> None:
    """``python -m localcloud`` says where it is and ends when told to."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "localcloud", "--redirect-blobs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        urls = [process.stdout.readline() for _ in range(3)]
        found = re.fullmatch(r"API +(\S+)\n", urls[0])
        assert found is not None, urls
        key = "carolkey".ljust(33, "0")
        assert ask(found[1], f"/v7/release/$count?apikey={key}").status == 200
        process.send_signal(end)
        said, complained = process.stdout.read(), process.stderr.read()
        assert process.wait(timeout=20) == 0
        assert "balenablocks/browser-aarch64: " in said
        assert "2.3.8+rev2*" in said
        assert f"{key}  carol" in said
        # No log line shows a request, for keys are in them.
        assert complained == ""
