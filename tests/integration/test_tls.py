"""TLS on either side: a private authority upstream, both schemes for clients."""

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

import serve
from demo.proxy import Proxy
from localcloud import LocalCloud
from tests.authority import Authority, tls_context
from tests.client.client import Skopeo
from tests.integration.registry import Installation, installed
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import ToolError

ALIAS = "balenablocks/browser-aarch64/2.3.8"
LOCATION = "567e62d1e73529e7a31757ac1f3fb902"
TLS = {"TLS": "authority"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    """An authority that nobody knows."""
    return Authority("private authority")


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> tuple[str, str]:
    """The arguments that make mitmproxy know it."""
    path = authority.write_file(tmp_path / "authority.pem")
    return set_option("ssl_verify_upstream_trusted_ca", path)


@pytest.fixture(scope="module")
def encrypted(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A registry and an API that speak TLS with certificates of that authority."""
    folder = tmp_path_factory.mktemp("registry")
    with installed(folder, tls=authority.server_file(folder)) as running:
        yield running


def set_option(name: str, value: object) -> tuple[str, str]:
    """Return the arguments of mitmdump that set an option."""
    return "--set", f"{name}={value}"


@pytest.mark.parametrize("trust", ["file", "folder", "insecure"])
def test_pull_with_private_authority(
    encrypted: Installation,
    authority: Authority,
    trusted: tuple[str, str],
    skopeo: Skopeo,
    tmp_path: Path,
    trust: str,
) -> None:
    """Mitmproxy's own options hold for the registry and for the API alike."""
    folder = authority.write_folder(tmp_path / "authorities")
    arguments = {
        "file": trusted,
        "folder": set_option("ssl_verify_upstream_trusted_confdir", folder),
        "insecure": set_option("ssl_insecure", "true"),
    }
    with Proxy(encrypted.url, arguments=arguments[trust]) as proxy:
        digest = skopeo.pull(f"{proxy.host}/{ALIAS}")
    assert digest == encrypted.digest(LOCATION)


def test_unknown_authority_is_refused(encrypted: Installation) -> None:
    """Without the authority neither registry nor API is believed; the log says why."""
    with Proxy(encrypted.url) as proxy, plain_session() as session:
        url = f"http://{proxy.host}"
        pinged = session.get(f"{url}/v2/", timeout=TIMEOUT)
        token = session.get(f"{url}/auth/v1/token", timeout=TIMEOUT)
        assert (pinged.status_code, token.status_code) == (502, 503)
        for answer in (pinged, token):
            assert json.loads(answer.content)["errors"][0]["code"] == "UNAVAILABLE"
            assert "localhost" not in answer.text
        assert "certificate verify failed" in proxy.log.lower()


def test_both_schemes_on_one_port(
    encrypted: Installation, trusted: tuple[str, str], skopeo: Skopeo
) -> None:
    """The realm has the scheme that the client came with, and each pulls."""
    with Proxy(encrypted.url, environment=TLS, arguments=trusted) as proxy:
        own = serve.CONFDIR / "mitmproxy-ca-cert.pem"
        for scheme in ("http", "https"):
            with plain_session(own) as session:
                answer = session.get(f"{scheme}://{proxy.host}/v2/", timeout=TIMEOUT)
            challenge = answer.headers["WWW-Authenticate"]
            assert f'realm="{scheme}://{proxy.host}/auth/v1/token"' in challenge
        # skopeo tries TLS first, and does not look who vouches for the certificate.
        assert skopeo.pull(f"{proxy.host}/{ALIAS}") == encrypted.digest(LOCATION)


def test_client_that_trusts_the_authority_needs_no_other_flag(
    skopeo: Skopeo, cloud: LocalCloud, tmp_path: Path
) -> None:
    """Mitmproxy's authority as ca.crt makes a client take the proxy's certificate."""
    authorities, nobody = tmp_path / "trusted", tmp_path / "nobody"
    authorities.mkdir()
    nobody.mkdir()
    with Proxy(cloud.registry_url, environment=TLS) as proxy:
        own = serve.CONFDIR / "mitmproxy-ca-cert.pem"
        (authorities / "ca.crt").write_bytes(own.read_bytes())
        shown = skopeo.inspect(f"{proxy.host}/{ALIAS}", authorities=authorities)
        assert shown["Name"] == f"{proxy.host}/{ALIAS}"
        with pytest.raises(ToolError, match="unknown authority"):
            skopeo.inspect(f"{proxy.host}/{ALIAS}", authorities=nobody)


def test_certificate_of_ones_own_is_shown(
    cloud: LocalCloud, authority: Authority, tmp_path: Path
) -> None:
    """`--certs` is shown to who calls that host, in place of the authority's."""
    own = authority.server_file(tmp_path)
    vouching = Path(authority.write_file(tmp_path / "authority.pem"))
    arguments = ("--certs", f"localhost={own}")
    with (
        Proxy(cloud.registry_url, environment=TLS, arguments=arguments) as proxy,
        plain_session(vouching) as session,
    ):
        answer = session.get(f"https://{proxy.host}/ping", timeout=TIMEOUT)
    assert answer.text == "pong"


def test_registry_is_named_in_the_handshake_by_its_own_name(
    encrypted: Installation, trusted: tuple[str, str]
) -> None:
    """A client that calls the proxy by another name is served all the same."""
    with Proxy(encrypted.url, environment=TLS, arguments=trusted) as proxy:
        context = ssl.create_default_context(
            cafile=serve.CONFDIR / "mitmproxy-ca-cert.pem"
        )
        address = ("127.0.0.1", proxy.port)
        with (
            socket.create_connection(address, timeout=TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname="proxy.example") as encrypted_,
        ):
            encrypted_.sendall(
                b"GET /v2/ HTTP/1.1\r\nHost: proxy.example\r\nConnection: close\r\n\r\n"
            )
            answer = b"".join(iter(lambda: encrypted_.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 401 ")
    assert 'realm="https://proxy.example/auth/v1/token"' in answer


@pytest.mark.parametrize(
    ("fault", "said"),
    [("expired", "expired"), ("wrong name", "mismatch")],
)
def test_wrong_certificate_upstream(
    authority: Authority,
    trusted: tuple[str, str],
    skopeo: Skopeo,
    tmp_path: Path,
    fault: str,
    said: str,
) -> None:
    """Neither is believed; the log says why; with a right one all works again."""
    wrong = (
        authority.expired_file(tmp_path)
        if fault == "expired"
        else authority.server_file(tmp_path, "other.example", "192.0.2.1")
    )
    context = tls_context(wrong)
    with (
        LocalCloud(tls=context, public_host="localhost") as cloud,
        Proxy(cloud.registry_url, arguments=trusted) as proxy,
        plain_session() as session,
    ):
        url = f"http://{proxy.host}"
        pinged = session.get(f"{url}/v2/", timeout=TIMEOUT)
        token = session.get(f"{url}/auth/v1/token", timeout=TIMEOUT)
        assert (pinged.status_code, token.status_code) == (502, 503)
        with pytest.raises(ToolError, match=r"502|503"):
            skopeo.pull(f"{proxy.host}/{ALIAS}")
        assert proxy.log.lower().count(said) >= 2
        # New handshakes use what was loaded last.
        context.load_cert_chain(authority.server_file(tmp_path))
        assert skopeo.inspect(f"{proxy.host}/{ALIAS}")["Digest"]
