"""Makes what the cloud behind the proxy speaks TLS with, signed by an authority."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from mitmproxy.certs import CertStore

KEY_BITS = 2048


@dataclass(frozen=True, slots=True)
class Files:
    """Where they are, as PEM."""

    authority: Path
    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Files:
    """Write a certificate for this machine, and that of the authority behind it."""
    store = CertStore.from_store(folder, "bench", KEY_BITS)
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    made = store.get_cert("localhost", names)
    key = made.privatekey.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    files = Files(
        authority=folder / "bench-ca-cert.pem",
        certificate=folder / "server.pem",
        key=folder / "server-key.pem",
    )
    files.certificate.write_bytes(made.cert.to_pem())
    files.key.write_bytes(key)
    return files
