"""A certificate of the operator's own, in one file or two, and its renewal."""

import shutil
import signal
import socket
import ssl
from pathlib import Path

import pytest

from demo.proxy import Proxy, StartError
from tests.authority import Authority
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT
from tests.integration.tool import has_traceback, wait_until


def shown(port: int) -> str:
    """Return the certificate that a client is shown, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as encrypted,
    ):
        return ssl.DER_cert_to_PEM_cert(encrypted.getpeercert(binary_form=True) or b"")


def split(file: Path) -> tuple[Path, Path]:
    """Return the certificate and the key of a file in files of their own."""
    certificate, begin, key = file.read_text().partition("-----BEGIN PRIVATE KEY-----")
    file.with_suffix(".crt").write_text(certificate)
    file.with_suffix(".key").write_text(begin + key)
    return file.with_suffix(".crt"), file.with_suffix(".key")


def folder(path: Path) -> Path:
    """Return the folder, made."""
    path.mkdir()
    return path


def first_certificate(file: Path) -> str:
    """Return the first certificate of a file."""
    _, begin, rest = file.read_text().partition("-----BEGIN CERTIFICATE-----")
    body, end, _ = rest.partition("-----END CERTIFICATE-----")
    return f"{begin}{body}{end}\n"


@pytest.mark.parametrize("files", ["one", "two"])
def test_own_certificate_is_shown_and_renewed(
    installation: Installation, tmp_path: Path, files: str
) -> None:
    """What the files have is in use at once after SIGHUP; nonsense changes nothing."""
    authority = Authority("own")
    old = authority.server_file(folder(tmp_path / "old"))
    new = authority.server_file(folder(tmp_path / "new"))
    before, after = first_certificate(old), first_certificate(new)
    certificate, key = split(old) if files == "two" else (old, None)
    variables = {"TLS_CERT": str(certificate), "CONFDIR": str(tmp_path / "confdir")}
    if key:
        variables["TLS_KEY"] = str(key)
    with Proxy(installation.url, environment=variables) as proxy:
        assert shown(proxy.port) == before
        certificate.write_text("nonsense")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the certificate in use stays" in proxy.log, "a warning")
        assert shown(proxy.port) == before
        if key:
            renewed, renewed_key = split(new)
            shutil.copy(renewed_key, key)
            shutil.copy(renewed, certificate)
        else:
            shutil.copy(new, certificate)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: shown(proxy.port) == after, "the new one is shown")
        copies = list((tmp_path / "confdir").glob("own-certificate-*"))
        assert [copy.stat().st_mode & 0o777 for copy in copies] == [0o600]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no certificate", "TLS_CERT.*is no PEM file with a certificate"),
        ("no key", "TLS_KEY.*has no private key"),
        ("another key", "TLS_KEY.*is not that of the certificate"),
    ],
)
def test_files_that_do_not_fit_stop_the_start(
    installation: Installation, tmp_path: Path, case: str, said: str
) -> None:
    """The message names variable and file, and shows nothing of what is in it."""
    authority = Authority("own")
    certificate, key = split(authority.server_file(folder(tmp_path / "a")))
    _, other = split(authority.server_file(folder(tmp_path / "b")))
    variables = {"TLS_CERT": str(certificate), "TLS_KEY": str(key)}
    match case:
        case "no certificate":
            variables["TLS_CERT"] = str(key)
        case "no key":
            del variables["TLS_KEY"]
        case _:
            variables["TLS_KEY"] = str(other)
    proxy = Proxy(installation.url, environment=variables)
    with pytest.raises(StartError, match=said) as stopped, proxy:
        pass
    assert not has_traceback(str(stopped.value))
    assert key.read_text()[40:60] not in str(stopped.value)


def test_without_a_certificate_a_closed_terminal_ends_the_proxy(
    installation: Installation,
) -> None:
    """SIGHUP means what it usually does where there is nothing to read again."""
    with Proxy(installation.url) as proxy:
        proxy.process.send_signal(signal.SIGHUP)
        assert proxy.process.wait(TIMEOUT) == -signal.SIGHUP


def test_copy_that_cannot_be_written_is_named(
    installation: Installation, tmp_path: Path
) -> None:
    """A renewal that fails keeps the certificate in use, and the next one works."""
    authority = Authority("own")
    certificate = authority.server_file(folder(tmp_path / "old"))
    new = authority.server_file(folder(tmp_path / "new"))
    confdir = tmp_path / "confdir"
    variables = {"TLS_CERT": str(certificate), "CONFDIR": str(confdir)}
    with Proxy(installation.url, environment=variables) as proxy:
        before = shown(proxy.port)
        confdir.rename(tmp_path / "away")
        shutil.copy(new, certificate)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "CONFDIR" in proxy.log, "a warning")
        assert shown(proxy.port) == before
        (tmp_path / "away").rename(confdir)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: shown(proxy.port) == first_certificate(new), "the new one")
