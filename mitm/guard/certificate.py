"""The operator's own certificate, which clients are shown, and its renewal.

mitmproxy takes key and chain in one file, and reads each file once. So the two are put
together in a file of its confdir, under a new name whenever they change.
"""

import asyncio
import hashlib
import logging
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mitmproxy import ctx, exceptions

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60
"""How often the files are looked at; a renewal is done weeks before it is needed."""
PREFIX = "own-certificate-"
EVERY_HOST = "*="


class CertificateError(ValueError):
    """A certificate or key cannot be used; the message names the file, and no more."""


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """A certificate with its chain, and its key, in one PEM file or two."""

    certificate: Path
    key: Path | None = None

    def read(self) -> bytes:
        """Return key and chain as one PEM text.

        Raises:
            CertificateError: a file cannot be read, or the two do not belong together.

        """
        chain = _read("balena_tls_cert (TLS_CERT)", self.certificate)
        key = _read("balena_tls_key (TLS_KEY)", self.key) if self.key else b""
        try:
            leaf = x509.load_pem_x509_certificates(chain)[0]
        except ValueError as error:
            raise CertificateError(
                f"balena_tls_cert (TLS_CERT): {self.certificate} is no PEM file with a"
                " certificate; it begins with -----BEGIN CERTIFICATE-----"
            ) from error
        held = self.key or self.certificate
        try:
            private = load_pem_private_key(key or chain, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(
                f"balena_tls_key (TLS_KEY): {held} has no private key without a"
                " passphrase in PEM; name a file that has the certificate's"
            ) from error
        if leaf.public_key() != private.public_key():
            raise CertificateError(
                f"balena_tls_key (TLS_KEY): the key in {held} is not that of the"
                f" certificate in {self.certificate}, which comes first in its chain"
            )
        return b"\n".join(filter(None, (key, chain)))


class CertificateKeeper:
    """Gives mitmproxy the certificate, and again whenever the files have changed."""

    def __init__(self) -> None:
        self._own: OwnCertificate | None = None
        self._file: Path | None = None
        self._timer: asyncio.TimerHandle | None = None

    def use(self, own: OwnCertificate | None) -> None:
        """Show this certificate to clients from now on; None is mitmproxy's.

        Raises:
            OptionsError: it cannot be read, or not be handed to mitmproxy.

        """
        if own or self._file:
            try:
                self._load(own.read() if own else None)
            except CertificateError as error:
                raise exceptions.OptionsError(str(error)) from error
        self._own = own

    def watch(self) -> None:
        """Look at the files now and then, and when SIGHUP asks for it.

        Without files SIGHUP ends mitmproxy, as where its terminal is closed.
        """
        if self._own is None:
            return
        loop = asyncio.get_running_loop()
        # Windows has no such signal, and no handlers of signals.
        with suppress(NotImplementedError, AttributeError):
            loop.add_signal_handler(signal.SIGHUP, self.look)
        self._timer = loop.call_later(LOOK_SECONDS, self._look_again)

    def stop(self) -> None:
        """Look no more."""
        if self._timer:
            self._timer.cancel()

    def look(self) -> None:
        """Use what is in the files now; what was used before, if that is nothing."""
        if self._own is None:
            return
        try:
            is_new = self._load(self._own.read())
        except CertificateError as error:
            logger.warning("%s; the certificate in use stays", error)
            return
        if is_new:
            logger.info("the certificate in %s is in use", self._own.certificate)

    def _look_again(self) -> None:
        self.look()
        self._timer = asyncio.get_running_loop().call_later(
            LOOK_SECONDS, self._look_again
        )

    def _load(self, content: bytes | None) -> bool:
        """Hand the certificate to mitmproxy, and say whether it is another one."""
        file = None
        if content is not None:
            confdir = Path(ctx.options.confdir).expanduser()
            name = PREFIX + hashlib.sha256(content).hexdigest()[:16] + ".pem"
            file = confdir / name
            if file == self._file:
                return False
            _replace(confdir, file, content)
        certs = certificates_of_mitmproxy()
        if file:
            certs.append(f"{EVERY_HOST}{file}")
        self._file = file
        ctx.options.update(certs=certs)
        return True


def certificates_of_mitmproxy() -> list[str]:
    """Return what mitmproxy's own option names, but for what was put there here."""
    return [spec for spec in ctx.options.certs if PREFIX not in spec]


def _replace(confdir: Path, file: Path, content: bytes) -> None:
    """Write the file, which nobody else may read, in the place of those before it."""
    try:
        file.touch(mode=0o600)
        file.write_bytes(content)
        for left in confdir.glob(f"{PREFIX}*.pem"):
            if left != file:
                left.unlink()
    except OSError as error:
        raise CertificateError(
            f"confdir (CONFDIR): {file}: {error.strerror}; it has to be writable, as"
            " mitmproxy takes certificate and key from a file there"
        ) from error


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{option}: {path}: {error.strerror}") from error
