"""No token in flows of clients and a registry that speak TLS, and perhaps HTTP/2."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import serve
from localcloud import LocalCloud
from localcloud.relay import Failure, Fault, Relay
from serve import free_port
from tests.authority import Authority
from tests.integration.fault import ALIAS, MANIFEST
from tests.integration.mitmweb import mitmweb
from tests.integration.session import TIMEOUT
from tests.integration.tool import find_tool, listens, run, running
from tests.integration.watched import (
    SCOPE,
    STREAMED,
    UNDER_WAY,
    Watched,
    exposed,
    meanwhile,
    secrets_of,
)


@contextmanager
def nginx(folder: Path, certificate: Path, target: str) -> Iterator[int]:
    """Speak TLS and HTTP/2 in front of the target, which does not; yield the port."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(f"""
        daemon off; user root; pid {folder}/nginx.pid; error_log stderr;
        events {{}}
        http {{
          access_log off;
          client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
          fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi;
          scgi_temp_path {folder}/scgi;
          server {{
            listen 127.0.0.1:{port} ssl http2;
            ssl_certificate {certificate}; ssl_certificate_key {certificate};
            location / {{ proxy_pass {target}; }}
          }}
        }}
    """)
    command: list[str | Path] = [find_tool("nginx"), "-c", config]
    with running(command, lambda: listens(port), log=folder / "nginx.log"):
        yield port


@pytest.fixture(scope="module")
def encrypted(
    cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A proxy in front of a registry with TLS, which takes HTTP/2 as well."""
    folder = tmp_path_factory.mktemp("encrypted")
    authority = Authority("private authority")
    known = authority.write_file(folder / "authority.pem")
    certificate = authority.server_file(folder)
    with (
        nginx(folder, certificate, cloud.registry_url) as port,
        Relay(port) as registry,
        mitmweb(
            f"https://localhost:{registry.port}",
            folder,
            *("--set", f"ssl_verify_upstream_trusted_ca={known}"),
            environment={"API_URL": cloud.api_url, "TLS": "authority"},
        ) as (proxy, web),
    ):
        yield Watched(cloud, registry, proxy, web)


class Curl:
    """A client that speaks TLS, verified, and HTTP/2 if it may."""

    def __init__(self, watched: Watched, version: str, folder: Path) -> None:
        self._base = f"https://{watched.proxy.host}"
        authority = serve.CONFDIR / "mitmproxy-ca-cert.pem"
        self._file = folder / "answer"
        self._command = (
            *(find_tool("curl"), "--disable", "--silent", "--show-error", "--fail"),
            *("--noproxy", "*", "--cacert", authority, f"--http{version}"),
            *("--max-time", str(TIMEOUT), "--output", self._file),
            *("--write-out", "%{http_version}"),
        )
        self._version = version

    def get(self, path: str, *arguments: str) -> bytes:
        """Return the body of the answer, which has to come by that version."""
        url = f"{self._base}{path}"
        spoken = run(*self._command, *arguments, url, environment={"LC_ALL": "C.UTF-8"})
        assert spoken == self._version
        return self._file.read_bytes()


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_token_is_in_no_flow(encrypted: Watched, version: str, tmp_path: Path) -> None:
    """Once it was sent, also while a blob is streamed; and the pull is right."""
    web, key = encrypted.web, encrypted.key
    web.set(http2=version == "2")
    web.clear()
    curl = Curl(encrypted, version, tmp_path)
    path = f"/auth/v1/token?scope={SCOPE}&apikey={key}"
    token = json.loads(curl.get(path, "--user", f"u:{key}"))["token"]
    login = (
        "--header",
        f"Authorization: Bearer {token}",
        "--header",
        f"Accept: {MANIFEST}",
    )
    described = json.loads(curl.get(f"/v2/{ALIAS}/manifests/latest", *login))
    digest = described["layers"][-1]["digest"]
    encrypted.registry.fail(Fault(Failure.STALL, length=UNDER_WAY))
    with meanwhile(lambda: curl.get(f"/v2/{ALIAS}/blobs/{digest}", *login)) as client:
        web.find(STREAMED)
        during = encrypted.everything()
        encrypted.registry.mend()
        pulled = client.result()
    assert f"sha256:{hashlib.sha256(pulled).hexdigest()}" == digest
    secrets = secrets_of(key, token)
    assert exposed(during, secrets) == []
    assert exposed(encrypted.everything(), secrets) == []
    (upstream,) = {
        flow["server_conn"]["alpn"]
        for flow in web.flows()
        if flow["server_conn"]["tls_established"]
    }
    assert upstream == {"1.1": "http/1.1", "2": "h2"}[version]
