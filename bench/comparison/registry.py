"""The real registry, docker-registry, and nginx with what it has stored."""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from bench.certificate import Files
from bench.program import Command, find_program, running

PIECE = 1 << 20
TIMEOUT = 60


@contextmanager
def serving(
    folder: Path, port: int, config: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Run docker-registry on a port of loopback, with the storage in the folder."""
    whole: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(_storage(folder))}},
        **(config or {}),
    }
    whole["http"] = {"addr": f"127.0.0.1:{port}", **whole.get("http", {})}
    # YAML takes JSON as it is.
    path = folder / f"registry-{port}.yml"
    path.write_text(json.dumps(whole))
    command: Command = [find_program("docker-registry"), "serve", path]
    with running(command, port, log=folder / f"registry-{port}.log"):
        yield


def trusting(realm: str, service: str, issuer: str, bundle: Path) -> dict[str, Any]:
    """Return the part of its configuration that says whose tokens it takes."""
    named = {"realm": realm, "service": service, "issuer": issuer}
    return {"auth": {"token": {**named, "rootcertbundle": str(bundle)}}}


def redirecting(url: str) -> dict[str, Any]:
    """Return the part that lets it redirect blobs to a storage."""
    middleware = {"name": "redirect", "options": {"baseurl": url}}
    return {"middleware": {"storage": [middleware]}}


def encrypting(files: Files) -> dict[str, Any]:
    """Return the part that lets it speak TLS."""
    tls = {"certificate": str(files.certificate), "key": str(files.key)}
    return {"http": {"tls": tls}}


@contextmanager
def storing(folder: Path, port: int) -> Iterator[None]:
    """Run nginx with the storage in the folder."""
    config = folder / "nginx.conf"
    # nginx as root would serve as a user who may not read the folder.
    config.write_text(f"""
        daemon off; user root; pid {folder}/nginx.pid; error_log stderr;
        events {{}}
        http {{
          access_log off; sendfile on;
          client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
          fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi;
          scgi_temp_path {folder}/scgi;
          server {{ listen 127.0.0.1:{port}; root {_storage(folder)}; }}
        }}
    """)
    command: Command = [find_program("nginx"), "-c", config]
    with running(command, port, log=folder / "nginx.log"):
        yield


def push_blob(repository: str, length: int, registry_url: str) -> str:
    """Put a blob of that length into a registry that asks for no token.

    It is not held as a whole, and its digest is returned.
    """
    hashed = hashlib.sha256()
    piece = random.Random(length).randbytes(PIECE)  # noqa: S311 - no secret

    def pieces() -> Iterator[bytes]:
        for begin in range(0, length, PIECE):
            part = piece[: length - begin]
            hashed.update(part)
            yield part

    with requests.Session() as session:
        # A proxy of the environment has no business between two local servers.
        session.trust_env = False
        url = f"{registry_url}/v2/{repository}/blobs/uploads/"
        begun = session.post(url, timeout=TIMEOUT)
        begun.raise_for_status()
        place = urljoin(begun.url, begun.headers["Location"])
        headers = {"Content-Type": "application/octet-stream"}
        sent = session.patch(place, data=pieces(), headers=headers, timeout=TIMEOUT)
        sent.raise_for_status()
        digest = f"sha256:{hashed.hexdigest()}"
        place = urljoin(sent.url, sent.headers["Location"])
        ended = session.put(place, params={"digest": digest}, timeout=TIMEOUT)
        ended.raise_for_status()
    return digest


def _storage(folder: Path) -> Path:
    return folder / "storage"
