"""TLS handshakes of clients with this proxy that come to nothing.

Clients try several ways: docker tries TLS first, and goes on in plain HTTP at a
registry of its own machine. Whoever waits asks for these findings if no request came.
"""

import datetime as dt
import re

from cause.certificate import Certificate, Flaw, describe_flaw
from cause.connection import no_handshake
from cause.finding import Cause, Finding, shown
from resolver.grammar.url import format_host

_ALERT = re.compile(r"alert ([a-z ]+)")
"""OpenSSL's words for what the client said (SSL_alert_desc_string_long(3))."""
_MISTRUST = frozenset(
    {
        *("bad certificate", "unknown ca", "certificate unknown"),
        *("unsupported certificate", "certificate expired", "certificate revoked"),
    }
)
_CLOSED = "disconnected during the handshake"
"""In mitmproxy's words for a client that said nothing."""
_SAID_NOTHING = "the client closed the connection without a word"
_UNREADABLE = "Cannot parse ClientHello"
"""How mitmproxy begins where bytes of the client's follow."""
_NAMING = "certificate for "
"""In mitmproxy's words where a name follows: if the client asked for none, the address
of the registry."""
_REASON = re.compile(r"'([^']+)'\)\]\)")
"""OpenSSL's last words in mitmproxy's."""
_PLACE = re.compile(r"[\w.:][\w.:-]*", re.ASCII)
"""A name or an address that a shell and a command take for one."""


def spoke_tls(seconds: float) -> Finding:
    """Return that a client spoke TLS to a plain port, and that nothing came of it."""
    return Finding(
        Cause.TLS,
        "a client spoke TLS to this port, which speaks plain HTTP, and did not go on in"
        f" plain HTTP in {seconds:.0f} s",
        "let the client use plain HTTP there, as by --tls-verify=false or docker's"
        " insecure-registries; or let this proxy speak TLS, by TLS=authority or"
        " TLS_CERT",
    )


def handshake_failed(
    words: str,
    certificate: Certificate | None,
    *,
    name: str,
    port: int,
    now: float,
    seconds: float,
) -> Finding:
    """Return why a client and this proxy have no TLS, as far as that is known.

    Args:
        words: mitmproxy's about it.
        certificate: the one that the client was shown, if it came to that.
        name: the host that the client asked for, or else the address.
        port: where it did.
        now: this machine's clock, in seconds since the epoch.
        seconds: since then, in which the client did not come back.

    """
    gone = f"and did not come back in {seconds:.0f} s"
    if not certificate or not blames_certificate(words):
        reason, advice = _explain(words)
        return Finding(
            Cause.TLS,
            f"{no_handshake('a client', reason)}; it asked for {shown(name)}, {gone}",
            advice,
        )
    whose = "this proxy"
    if flaw := _flaw_of(certificate, name, now):
        advice = {
            Flaw.EXPIRED: "renew it (TLS_CERT), unless the clock is wrong",
            Flaw.EARLY: "synchronise this machine's clock (NTP); if it is right, wait",
            Flaw.OTHER_NAME: "let clients use a name that it has, or get a certificate"
            f" for {shown(name)} (TLS_CERT)",
        }[flaw]
        sentence = describe_flaw(whose, name, str(flaw), certificate, now)
        return Finding(Cause.TLS, f"{sentence}; a client left, {gone}", advice)
    said = _alert(words) or _SAID_NOTHING
    host = format_host(name, port) if _PLACE.fullmatch(name) else "<host>"
    return Finding(
        Cause.TLS,
        f"a client does not trust the certificate of {whose} for {shown(name)}, {gone}:"
        f" {said}",
        "make it trust the authority that signed it:"
        f" registry-proxy trust {host} prints how",
    )


def blames_certificate(words: str) -> bool:
    """Return whether a client that was shown a certificate left because of it."""
    return _alert(words) in _MISTRUST or _CLOSED in words


def _alert(words: str) -> str:
    """Return what the client said, if anything."""
    return match[1].strip() if (match := _ALERT.search(words)) else ""


def _explain(words: str) -> tuple[str, str]:
    """Return why no certificate is to blame, and what to do."""
    if _CLOSED in words:
        return _SAID_NOTHING, (
            "see what it is: health checks and scanners look whether a port is open;"
            " let a health check ask for /ping"
        )
    if words.startswith(_UNREADABLE):
        return (
            "what it sent is no ClientHello that can be read",
            "see what it is, and whether something in between changes what it sends",
        )
    if _NAMING in words:
        match = _REASON.search(words)
        words = match[1] if match else "OpenSSL does not say why"
    return words, (
        "see which versions of TLS the client speaks; this proxy's are set by the"
        " option tls_version_client_min"
    )


def _flaw_of(certificate: Certificate, name: str, now: float) -> Flaw | None:
    """Return what anybody may see to be wrong with a certificate."""
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    if certificate.end < moment:
        return Flaw.EXPIRED
    if moment < certificate.begin:
        return Flaw.EARLY
    return None if certificate.is_for(name) else Flaw.OTHER_NAME
