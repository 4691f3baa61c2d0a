"""A certificate that a server shows, as far as a finding tells of it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from cryptography import x509

from cause.finding import shown


@dataclass(frozen=True, slots=True)
class Certificate:
    """For whom it is, from whom, and from when to when."""

    names: Sequence[str]
    """Hosts and addresses, or the subject where it has none of them."""
    issuer: str
    begin: dt.datetime
    end: dt.datetime

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Return what is told of it.

        Raises:
            ValueError: it cannot be read.

        """
        return cls(
            _names(certificate),
            certificate.issuer.rfc4514_string(),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )

    def is_for(self, name: str) -> bool:
        """Return whether it is for the host or address (RFC 9525 section 6.3)."""
        wanted = name.lower()
        any_label = f"*.{wanted.partition('.')[2]}"
        return any(each.lower() in (wanted, any_label) for each in self.names)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except (x509.ExtensionNotFound, ValueError):
        return [certificate.subject.rfc4514_string()]
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


class Flaw(StrEnum):
    """Why a certificate does not verify: the beginning of OpenSSL's words for it.

    They are those of X509_verify_cert_error_string(3).
    """

    EXPIRED = "certificate has expired"
    EARLY = "certificate is not yet valid"
    OTHER_NAME = "hostname mismatch"
    OTHER_ADDRESS = "ip address mismatch"
    UNTRUSTED = ""
    """Any other words."""


def flaw_of(words: str) -> Flaw:
    """Return what is wrong with a certificate, by OpenSSL's words about it."""
    text = words.lower()
    found = next(flaw for flaw in Flaw if text.startswith(flaw))
    return Flaw.OTHER_NAME if found is Flaw.OTHER_ADDRESS else found


def describe_flaw(
    whose: str, name: str, words: str, certificate: Certificate | None, now: float
) -> str:
    """Say why a certificate does not verify.

    Args:
        whose: the server, in words.
        name: the host that was asked for.
        words: OpenSSL's.
        certificate: the server's, if it was seen.
        now: this machine's clock.

    """
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    clock = f"and this machine's clock says {moment:%Y-%m-%d %H:%M} UTC"
    subject = f"the certificate of {whose}"
    match flaw_of(words):
        case Flaw.EXPIRED:
            end = certificate and f" on {certificate.end:%Y-%m-%d}"
            return f"{subject} expired{end or ''}, {clock}"
        case Flaw.EARLY:
            begin = certificate and f" {certificate.begin:%Y-%m-%d}"
            return f"{subject} is not valid before{begin or ' a later day'}, {clock}"
        case Flaw.OTHER_NAME:
            names = ", ".join(certificate.names) if certificate else "other names"
            return f"{subject} is for {shown(names)}, and not for {shown(name)}"
    issuer = certificate.issuer if certificate else ""
    signed = f" is signed by {shown(issuer)}, which" if issuer else ""
    return f"{subject}{signed} is not trusted here: {shown(words)}"
