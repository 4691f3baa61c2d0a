"""Pulls out of a network that has no way out but a forward proxy."""

import base64
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from demo.proxy import Proxy, StartError
from registry_proxy import ROOT
from registry_proxy.port import free_port
from tests.authority import Authority
from tests.client.client import Skopeo
from tests.integration.blob import blob_of
from tests.integration.fault import ALIAS, LOCATION, in_time
from tests.integration.forward import (
    REFUSED,
    REGISTRY,
    STORAGE,
    USER,
    Forward,
    encrypted,
    squid,
    tinyproxy,
)
from tests.integration.registry import Installation, installed
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.storage import SCRIPT, Nginx, known_to_the_proxy, nginx
from tests.integration.tool import ToolError, run, wait_until

FOLLOW = {"BLOBS": "follow"}
PRIVATE = "10.255.255.1"


@dataclass(frozen=True, slots=True)
class Site:
    """Registry, API and storage, which nobody finds but the forward proxy."""

    installation: Installation
    storage: Nginx

    @property
    def urls(self) -> tuple[str, str, str]:
        """Those of all three."""
        api_url = self.installation.cloud.api_url
        return self.installation.url, api_url, self.storage.url


@dataclass(frozen=True, slots=True)
class Network:
    """What a company has: an authority, and forward proxies."""

    authority_file: Path
    certificates: Mapping[str, Path]
    forwards: Mapping[str, Forward]

    @property
    def trust(self) -> tuple[str, ...]:
        """The arguments that make mitmproxy know the authority."""
        return "--set", f"ssl_verify_upstream_trusted_ca={self.authority_file}"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network with three forward proxies, of which one speaks TLS."""
    folder, authority = tmp_path_factory.mktemp("network"), Authority("company")
    certificates = {}
    for name in ("localhost", REGISTRY, STORAGE):
        (folder / name).mkdir()
        certificates[name] = authority.server_file(folder / name, name)
    trusted = Path(authority.write_file(folder / "authority.pem"))
    with ExitStack() as stack:
        open_proxy = stack.enter_context(squid(has_login=False))
        plain = stack.enter_context(squid())
        forwards = {
            "squid": plain,
            "tinyproxy": stack.enter_context(tinyproxy(folder, open_proxy)),
            "tls": stack.enter_context(
                encrypted(folder, plain, certificates["localhost"])
            ),
        }
        yield Network(trusted, certificates, forwards)


@pytest.fixture(scope="module")
def forward(network: Network) -> Forward:
    """The one that tells who went where."""
    return network.forwards["squid"]


@contextmanager
def opened(folder: Path, network: Network, *, tls: bool) -> Iterator[Site]:
    """Run a site, encrypted or not."""
    registry, storage = folder / "registry", folder / "storage"
    registry.mkdir()
    storage.mkdir()
    files = network.certificates if tls else {}
    server = f"root {registry}/storage;"
    with nginx(storage, server, tls=files.get(STORAGE)) as port:
        url = f"http{'s' if tls else ''}://{STORAGE}:{port}"
        with installed(
            registry, tls=files.get(REGISTRY), redirect_to=url, host=REGISTRY
        ) as installation:
            yield Site(installation, Nginx(port, url, storage / "storage.log"))


@pytest.fixture(scope="module")
def site(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with TLS."""
    with opened(tmp_path_factory.mktemp("site"), network, tls=True) as running:
        yield running


@pytest.fixture(scope="module")
def plain_site(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A site without."""
    with opened(tmp_path_factory.mktemp("plain"), network, tls=False) as running:
        yield running


def get(proxy: Proxy, path: str = "/v2/") -> requests.Response:
    """Return the answer to a request on a connection of its own."""
    with in_time(), plain_session() as session:
        return session.get(f"http://{proxy.host}{path}", timeout=TIMEOUT)


@pytest.mark.parametrize("kind", ["squid", "tinyproxy", "tls"])
@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_everything_goes_by_the_proxy(
    request: pytest.FixtureRequest,
    network: Network,
    skopeo: Skopeo,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    *,
    tls: bool,
) -> None:
    """Registry, API and storage; the login is in no log, and in no flow."""
    one: Site = request.getfixturevalue("site" if tls else "plain_site")
    forward, flows = network.forwards[kind], tmp_path / "flows"
    monkeypatch.setenv("HTTPS_PROXY" if tls else "http_proxy", forward.url())
    arguments = (*network.trust, "-w", str(flows))
    before = len(forward.passages)
    with Proxy(one.installation.url, environment=FOLLOW, arguments=arguments) as proxy:
        digest = skopeo.pull(f"{proxy.host}/{ALIAS}")
        log = proxy.log
    assert digest == one.installation.digest(LOCATION)
    login = base64.b64encode(f"{USER}:{forward.password}".encode()).decode()
    for secret in (forward.password, quote(forward.password), login):
        assert secret not in log
        assert secret.encode() not in flows.read_bytes()
    if kind == "tinyproxy":
        return  # Its log has no more than that they came.

    def passed() -> set[str]:
        targets = " ".join(each.target for each in forward.passages[before:])
        return {url for url in one.urls if url.partition("://")[2] in targets}

    # A tunnel is in the log when it has ended.
    wait_until(lambda: passed() == set(one.urls), "squid's log")
    assert {each.user for each in forward.passages[before:]} <= {USER, "-"}


def test_connection_is_kept(
    network: Network, forward: Forward, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blobs on one connection of a client come through one tunnel."""
    monkeypatch.setenv("ALL_PROXY", forward.url())
    before = len(site.storage.fetched)
    with (
        Proxy(
            site.installation.url, environment=FOLLOW, arguments=network.trust
        ) as proxy,
        blob_of(proxy) as blob,
    ):
        for _ in range(5):
            assert blob.is_whole(blob.ask())
    fetched = [one.connection for one in site.storage.fetched[before:]]
    assert fetched.count(fetched[-1]) == 5


def test_host_that_is_reached_without(
    network: Network,
    forward: Forward,
    site: Site,
    skopeo: Skopeo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What NO_PROXY names is connected to, and only the rest goes by the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", forward.url())
    monkeypatch.setenv("NO_PROXY", f"example.com, {REGISTRY}")
    known_to_the_proxy(monkeypatch, name=REGISTRY)
    before = len(forward.passages)
    arguments = (*network.trust, *SCRIPT)
    with Proxy(site.installation.url, environment=FOLLOW, arguments=arguments) as proxy:
        assert skopeo.pull(f"{proxy.host}/{ALIAS}") == site.installation.digest(
            LOCATION
        )
    wait_until(lambda: len(forward.passages) > before + 2, "squid's log")
    targets = " ".join(each.target for each in forward.passages[before:])
    assert STORAGE in targets
    assert REGISTRY not in targets


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("user", "said"),
    [(USER, "does not accept the login in"), ("", "asks for a login: write it into")],
)
def test_login_that_is_wrong(
    forward: Forward,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    user: str,
    said: str,
) -> None:
    """The log says so of either part, and shows no password; clients hear of none."""
    variable = f"{scheme.upper()}_PROXY"
    monkeypatch.setenv(variable, forward.url(user, "an0ther"))
    with Proxy(f"{scheme}://{REGISTRY}") as proxy:
        for path in ("/v2/", "/auth/v1/token"):
            answer = get(proxy, path)
            assert answer.status_code in (502, 503)
            assert "127.0.0.1" not in answer.text
        line = f"the proxy {forward.host} {said} {variable} (407)"
        assert proxy.log.count(line) >= 2
        assert "an0ther" not in proxy.log


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (REFUSED, "refuses to connect to it: 403 Forbidden"),
        (REGISTRY, "cannot connect to it: 503 Service Unavailable"),
    ],
)
def test_host_that_the_proxy_does_not_connect_to(
    forward: Forward, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    """The log names the host, the proxy, and what it says."""
    host = f"{name}:{free_port()}"
    monkeypatch.setenv("HTTPS_PROXY", forward.url())
    with Proxy(f"https://{host}") as proxy:
        for path in ("/v2/", "/auth/v1/token"):
            assert get(proxy, path).status_code in (502, 503)
        lines = [
            line for line in proxy.log.splitlines() if f"{forward.host} {said}" in line
        ]
        assert len(lines) >= 2
        assert all(host in line for line in lines)


def test_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log names it, and clients are told that the registry does not answer."""
    host = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://{host}")
    with Proxy(f"https://{REGISTRY}") as proxy:
        answers = [get(proxy, path) for path in ("/v2/", "/auth/v1/token")]
        assert [each.status_code for each in answers] == [502, 503]
        assert not any("127.0.0.1" in each.text for each in answers)
        assert f"the proxy {host} does not answer: it refuses" in proxy.log
        way = f"the proxy {host}, by which the registry {REGISTRY} is reached, refuses"
        assert way in proxy.log


def test_proxy_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the time of the registry for its tunnel, and no longer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}")
        arguments = ("--set", "balena_registry_timeout=1")
        with Proxy(f"https://{REGISTRY}", arguments=arguments) as proxy:
            assert get(proxy).status_code == 502
            assert f"the proxy {host} did not answer within 1 s" in proxy.log


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("socks5://u:s3cret@proxy.test:1080", "socks5:// cannot be used"),
        ("http://u:s3/cret@proxy.test:3128", "it names no host"),
    ],
)
def test_proxy_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    """It ends the program at the start, in one line without the password."""
    monkeypatch.setenv("https_proxy", value)
    proxy = Proxy(f"https://{REGISTRY}")
    with pytest.raises(StartError) as failed, proxy:
        pass
    proxy.__exit__(None, None, None)
    (line,) = [each for each in str(failed.value).splitlines() if said in each]
    assert f"https_proxy: {said}" in line
    assert "http://user:password@proxy.example.com:3128" in line
    assert "cret" not in str(failed.value)


def test_private_address_is_no_storage(
    network: Network,
    forward: Forward,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor is it one where a proxy could reach it."""
    monkeypatch.setenv("ALL_PROXY", forward.url())
    with (
        installed(
            tmp_path,
            tls=network.certificates[REGISTRY],
            redirect_to=f"https://{PRIVATE}",
            host=REGISTRY,
        ) as installation,
        Proxy(installation.url, environment=FOLLOW, arguments=network.trust) as proxy,
        blob_of(proxy) as blob,
    ):
        assert blob.ask().status_code == 502
        assert f"{PRIVATE} is not on the internet" in proxy.log
    assert not forward.count(f"https://{PRIVATE}")


@pytest.mark.parametrize("kind", ["squid", "tls"])
def test_resolve_goes_by_the_proxy(network: Network, site: Site, kind: str) -> None:
    """What is looked up without the registry proxy is, too."""
    forward = network.forwards[kind]
    environment = {
        "API_URL": site.installation.cloud.api_url,
        "HTTPS_PROXY": forward.url(),
        "REQUESTS_CA_BUNDLE": str(network.authority_file),
        "PYTHONPATH": str(ROOT),
    }
    command = (sys.executable, "-m", "registry_proxy", "resolve", ALIAS)
    assert LOCATION in run(*command, environment=environment)
    failed = environment | {"HTTPS_PROXY": forward.url("")}
    with pytest.raises(ToolError, match=f"{forward.host} asks for a login"):
        run(*command, environment=failed)
