"""TLS on either side: a private authority upstream, both schemes for clients."""

import shutil
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.proxy import Proxy, StartError
from localcloud import LocalCloud
from registry_proxy import serve
from tests.authority import Authority, tls_context
from tests.client.client import Skopeo
from tests.integration.fault import ALIAS, LOCATION
from tests.integration.raw import BYE, connected, encrypted, receive, send
from tests.integration.registry import Installation, installed
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import has_traceback, wait_until

TLS = {"TLS": "authority"}
OWN_AUTHORITY = serve.confdir({}) / "mitmproxy-ca-cert.pem"
PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n" + BYE
BEGIN_KEY = "-----BEGIN PRIVATE KEY-----"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """An authority that nobody knows."""
    return Authority("private authority")


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> tuple[str, str]:
    """The arguments that make mitmproxy know it."""
    path = authority.write_file(tmp_path / "authority.pem")
    return "--set", f"ssl_verify_upstream_trusted_ca={path}"


@pytest.fixture(scope="module")
def secure(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A registry and an API that speak TLS with certificates of that authority."""
    folder = tmp_path_factory.mktemp("registry")
    with installed(folder, tls=authority.server_file(folder)) as running:
        yield running


@pytest.mark.parametrize(
    "option",
    [
        "ssl_verify_upstream_trusted_ca={file}",
        "ssl_verify_upstream_trusted_confdir={folder}",
        "ssl_insecure=true",
    ],
)
def test_private_authority_upstream(
    secure: Installation,
    authority: Authority,
    skopeo: Skopeo,
    tmp_path: Path,
    option: str,
) -> None:
    """Mitmproxy's own options hold for the registry and for the API alike."""
    places = {
        "file": authority.write_file(tmp_path / "authority.pem"),
        "folder": authority.write_folder(tmp_path / "authorities"),
    }
    # skopeo tries TLS first, and does not look who vouches for the certificate.
    arguments = ("--set", option.format_map(places))
    with Proxy(secure.url, environment=TLS, arguments=arguments) as proxy:
        assert skopeo.pull(f"{proxy.host}/{ALIAS}") == secure.digest(LOCATION)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("localhost", "is not trusted here: "),
        ("other.example", "and not for localhost"),
    ],
)
def test_certificate_that_is_not_believed(
    authority: Authority,
    trusted: tuple[str, str],
    tmp_path: Path,
    name: str,
    said: str,
) -> None:
    """Neither registry nor API is believed without the authority, or by another name.

    The log says why, and clients are told no address.
    """
    context = tls_context(authority.server_file(tmp_path, name, "192.0.2.1"))
    arguments = trusted if name != "localhost" else ()
    with (
        LocalCloud(tls=context, public_host="localhost") as cloud,
        Proxy(cloud.registry_url, arguments=arguments) as proxy,
        plain_session() as session,
    ):
        for path, status in (("/v2/", 502), ("/auth/v1/token", 503)):
            answer = session.get(f"http://{proxy.host}{path}", timeout=TIMEOUT)
            assert answer.status_code == status
            assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
            assert "localhost" not in answer.text
        assert proxy.log.lower().count(said) >= 2
        line = f"the registry {cloud.registry_url} cannot be reached: its certificate"
        wait_until(lambda: line in proxy.log, "a line of the start")
        line = f"the API cannot be asked without the registry {cloud.registry_url}"
        wait_until(lambda: line in proxy.log, "another one")


def test_both_schemes_on_one_port(
    secure: Installation, trusted: tuple[str, str]
) -> None:
    """The realm has the client's scheme; the registry is called by its own name."""
    with Proxy(secure.url, environment=TLS, arguments=trusted) as proxy:
        request = b"GET /v2/ HTTP/1.1\r\nHost: proxy.example\r\n" + BYE
        answers = {"http": send(proxy, request)}
        context = ssl.create_default_context(cafile=OWN_AUTHORITY)
        with encrypted(proxy, context, "proxy.example") as connection:
            connection.sendall(request)
            answers["https"] = receive(connection)
    for scheme, answer in answers.items():
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert f'realm="{scheme}://proxy.example/auth/v1/token"'.encode() in answer


@pytest.mark.parametrize(("tls", "scheme"), [("", "http"), ("authority", "https")])
def test_start_says_what_is_served(cloud: LocalCloud, tls: str, scheme: str) -> None:
    """The URL in the log is one that works."""
    with (
        Proxy(cloud.registry_url, environment={"TLS": tls}) as proxy,
        plain_session(OWN_AUTHORITY) as session,
    ):
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        assert f"are served at {url};" in proxy.log
        assert session.get(f"{url}/ping", timeout=TIMEOUT).text == "pong"


def make_hello() -> bytes:
    """Return what a client that wants TLS says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    wanting = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        wanting.do_handshake()
    return outgoing.read()


HELLO = make_hello()
BYTES = tuple(HELLO[at : at + 1] for at in range(len(HELLO)))


def test_hello_to_plain_http(cloud: LocalCloud) -> None:
    """It is answered once, in plain HTTP, and not waited for longer than requests."""
    arguments = ("--set", "balena_request_timeout=1")
    with Proxy(cloud.registry_url, arguments=arguments) as proxy:
        for pieces in ((HELLO[:1],), (HELLO, PING), BYTES):
            for ends in (True, False):
                answer = send(proxy, *pieces, ends=ends)
                assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
                assert answer.count(b"HTTP/1.1") == 1
        with connected(proxy) as connection:
            connection.sendall(HELLO[:1])
            assert b"400 Bad Request" in receive(connection)
            wait_until(lambda: "not whole after 1 s" in proxy.log, "patience ends")
        assert "Traceback" not in proxy.log
        assert "crashed" not in proxy.log


def test_hello_where_there_is_tls(cloud: LocalCloud) -> None:
    """It may come in pieces; for one that is too long, or none, nobody waits (T8)."""
    with Proxy(cloud.registry_url, environment={"TLS": "authority"}) as proxy:
        with connected(proxy) as connection:
            for piece in BYTES:
                connection.sendall(piece)
            assert connection.recv(3) == b"\x16\3\3"
        for broken in (b"\x16\3\1\0\4\1\xff\xff\xff", b"\x16GET / HTTP/1.1\r\n\r\n"):
            assert send(proxy, broken) == b""
        assert proxy.log.count("connection closed") == 2
        assert "Traceback" not in proxy.log


def shown(proxy: Proxy) -> str:
    """Return the certificate that a client is shown, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with encrypted(proxy, context) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")


def own_certificate(authority: Authority, folder: Path) -> tuple[Path, Path, Path]:
    """Return a new certificate with its key in one file, and each in its own."""
    folder.mkdir()
    both = authority.server_file(folder)
    certificate, begin, key = both.read_text().partition(BEGIN_KEY)
    (folder / "chain.pem").write_text(certificate)
    (folder / "key.pem").write_text(begin + key)
    return both, folder / "chain.pem", folder / "key.pem"


def in_use(proxy: Proxy, file: Path) -> bool:
    """Return whether clients are shown the certificate of the file."""
    return file.read_text().startswith(shown(proxy))


@pytest.mark.parametrize("files", ["one", "two"])
def test_own_certificate_is_shown_and_renewed(
    installation: Installation, authority: Authority, tmp_path: Path, files: str
) -> None:
    """What the files have is in use at once after SIGHUP; a failure changes nothing."""
    old = own_certificate(authority, tmp_path / "old")
    new = own_certificate(authority, tmp_path / "new")
    used, renewed = (old[:1], new[:1]) if files == "one" else (old[1:], new[1:])
    shutil.copy(old[0], tmp_path / "before")
    confdir = tmp_path / "confdir"
    variables = dict(zip(("TLS_CERT", "TLS_KEY"), map(str, used), strict=False))
    variables["CONFDIR"] = str(confdir)
    with Proxy(installation.url, environment=variables) as proxy:
        assert in_use(proxy, tmp_path / "before")
        used[0].write_text("nonsense")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the certificate in use stays" in proxy.log, "a warning")
        for source, target in zip(renewed, used, strict=True):
            shutil.copy(source, target)
        confdir.rename(tmp_path / "away")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "CONFDIR" in proxy.log, "another warning")
        assert in_use(proxy, tmp_path / "before")
        (tmp_path / "away").rename(confdir)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: in_use(proxy, new[0]), "the new one is shown")
        copies = list(confdir.glob("own-certificate-*"))
        assert [copy.stat().st_mode & 0o777 for copy in copies] == [0o600]


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("a/key.pem", "a/key.pem", "TLS_CERT.*is no PEM file with a certificate"),
        ("a/chain.pem", None, "TLS_KEY.*has no private key"),
        ("a/chain.pem", "b/key.pem", "TLS_KEY.*is not that of the certificate"),
    ],
)
def test_files_that_do_not_fit_stop_the_start(
    installation: Installation,
    authority: Authority,
    tmp_path: Path,
    certificate: str,
    key: str | None,
    said: str,
) -> None:
    """The message names variable and file, and shows nothing of what is in it."""
    *_, secret = own_certificate(authority, tmp_path / "a")
    own_certificate(authority, tmp_path / "b")
    variables = {"TLS_CERT": str(tmp_path / certificate)}
    if key:
        variables["TLS_KEY"] = str(tmp_path / key)
    proxy = Proxy(installation.url, environment=variables)
    with pytest.raises(StartError, match=said) as stopped, proxy:
        pass
    assert not has_traceback(str(stopped.value))
    assert secret.read_text()[40:60] not in str(stopped.value)
