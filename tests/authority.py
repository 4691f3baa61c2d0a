"""A private certificate authority, made anew for each run."""

import datetime as dt
import hashlib
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)

_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "crl_sign"),
    *("data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
)


def tls_context(server_file: Path) -> ssl.SSLContext:
    """Return what a Python server needs to use the certificate and key in a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    return context


class Authority:
    """Signs the certificate of a server on loopback, as long as it lasts."""

    def __init__(self, name: str, lasts: dt.timedelta = DAY) -> None:
        self._lasts = lasts
        self.begins = -2 * DAY
        """From now on, for what is signed next."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        usage = x509.KeyUsage(**(dict.fromkeys(_USES, False) | {"key_cert_sign": True}))
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def write_file(self, path: Path) -> str:
        """Write the authority's certificate and return its path."""
        path.write_bytes(self._certificate.public_bytes(Encoding.PEM))
        return str(path)

    def write_folder(self, folder: Path) -> str:
        """Write a folder of authorities, named as ``openssl rehash`` does."""
        folder.mkdir()
        # OpenSSL's X509_NAME_hash; the name is in its canonical form already.
        canonical = self._name.public_bytes()[2:]
        digest = hashlib.sha1(canonical).digest()[:4]
        self.write_file(folder / f"{int.from_bytes(digest, 'little'):08x}.0")
        return str(folder)

    def server_file(
        self, folder: Path, name: str = "localhost", address: str = "127.0.0.1"
    ) -> Path:
        """Write certificate and key of a server, and return the path."""
        key = ec.generate_private_key(ec.SECP256R1())
        ip = x509.IPAddress(ipaddress.ip_address(address))
        names = x509.SubjectAlternativeName([x509.DNSName(name), ip])
        certificate = (
            self._builder(_name("server"), key.public_key())
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = folder / "server.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
        return path

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """Return what a server on loopback speaks TLS with."""
        return tls_context(self.server_file(folder))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        own = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + self.begins)
            .not_valid_after(now + self._lasts)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False
            )
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
